"""``python -m tonnage``, the same as the ``tonnage`` command."""

from __future__ import annotations

from tonnage.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
