"""The reference page of options is generated, and may not fall behind the table."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_options_page_is_up_to_date() -> None:
    """docs/reference/options.md is what the option table gives; ``make docs`` rewrites it."""
    page = runpy.run_path(str(ROOT / "scripts" / "make_options_page.py"))["page"]
    assert (ROOT / "docs" / "reference" / "options.md").read_text(encoding="utf-8") == page()
