"""What somebody may have meant who wrote a name that there is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of *known* that is most like *name*; None: none is much like it."""
    import difflib  # Only here: mostly there is no mistake to explain.

    return next(iter(difflib.get_close_matches(name, known, n=1)), None)
