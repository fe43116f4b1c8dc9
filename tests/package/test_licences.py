"""The licences of what Tonnage brings: known, compatible with its own, and listed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from scripts.make_licences_page import OTHERS, PAGE, PERMISSIVE, page, parts
from tests.support.missing import give_up

ROOT = Path(__file__).parents[2]


def differs_from_the_lock() -> str | None:
    """Return a package of requirements/run.txt that is not here in that version; None: all are."""
    for line in (ROOT / "requirements" / "run.txt").read_text().splitlines():
        if "==" in line and not line.startswith(" "):
            needed = Requirement(line.removesuffix("\\"))
            try:
                here = version(needed.name)
            except PackageNotFoundError:
                return needed.name
            if here not in needed.specifier:
                return f"{needed} and not {here}"
    return None


def test_licences_page_is_up_to_date() -> None:
    """docs/reference/licences.md is what the packages say; ``make docs`` rewrites it."""
    lacking = differs_from_the_lock()
    if lacking is not None:
        give_up(lacking, "requirements/run.txt is what the page is of")
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", ["MIT"]),
        ("MIT AND PSF-2.0", ["MIT", "PSF-2.0"]),
        ("(MIT OR Apache-2.0) AND BSD-3-Clause", ["MIT", "Apache-2.0", "BSD-3-Clause"]),
        ("", []),
    ],
)
def test_licences_of_an_expression(expression: str, expected: list[str]) -> None:
    """Each that is named counts, also one that need not be chosen."""
    assert parts(expression) == expected


def test_those_that_are_not_permissive_are_named() -> None:
    """They stand above the tables, with what they ask for."""
    assert not PERMISSIVE & OTHERS.keys()
    text = PAGE.read_text(encoding="utf-8").partition("## Always")[0]
    assert [each for each in OTHERS if f"\n- {each}, of " not in text] == []
