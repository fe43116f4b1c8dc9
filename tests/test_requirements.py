"""Every requirement is on its page, with where it lives, its test, and a backend that uses it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
BACKENDS = ("fitflix", "lvlup", "fibuca", "eventide")
#: All that is served together: what concerns all four may be shown there.
DEMO = "demo"

#: So many rows begin with each letter.
ROWS = [
    f"{letter}{number}"
    for letter, count in {"M": 8, "W": 11, "R": 9, "S": 8, "D": 7, "I": 4, "P": 3}.items()
    for number in range(1, count + 1)
]
#: What the project was asked for, where that lies beside the checkout.
ASKED = ROOT.parent / "shared" / "requirements.md"

_ROW = re.compile(r"^\| ([A-Z]\d+) \| (.*) \|$", re.MULTILINE)
_QUOTED = re.compile(r"`([^`]+)`")
_TEST = re.compile(r"^(?:(?:async )?def test_|(?:class )?Test\w)", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement, as the page has it."""

    requirement: str
    places: list[str]
    tests: list[str]
    backends: dict[str, str]


def read(text: str) -> dict[str, Row]:
    """Return the rows of a page, by what they are called."""
    found = {}
    for name, line in _ROW.findall(text):
        requirement, places, tests, backends = line.split(" | ")
        parts = (part.strip().partition(": ") for part in backends.split(";"))
        found[name] = Row(
            requirement,
            _QUOTED.findall(places),
            _QUOTED.findall(tests),
            {backend: how for backend, _, how in parts if how},
        )
    return found


PAGE = read((DOCS / "requirements.md").read_text())
each_row = pytest.mark.parametrize("name", ROWS)


def test_no_row_is_missing() -> None:
    """And none is there that nobody knows, or twice."""
    names = [name for name, _ in _ROW.findall((DOCS / "requirements.md").read_text())]
    assert names == ROWS


@pytest.mark.skipif(not ASKED.is_file(), reason="what was asked for is not beside the checkout")
def test_rows_are_those_that_were_asked_for() -> None:
    """Neither the page nor the list above leaves one out."""
    assert [name for name, _ in _ROW.findall(ASKED.read_text())] == ROWS


@each_row
def test_a_row_says_where_it_lives(name: str) -> None:
    """In files and directories that are there."""
    row = PAGE[name]
    assert row.requirement
    assert row.places
    roots = (ROOT, ROOT / "src" / "tonnage")
    assert [each for each in row.places if not any((top / each).exists() for top in roots)] == []


@each_row
def test_a_row_names_its_tests(name: str) -> None:
    """Files with tests, or directories with such files."""
    row = PAGE[name]
    assert row.tests
    assert [each for each in row.tests if not has_tests(ROOT / each)] == []


@each_row
def test_a_row_names_a_backend_that_uses_it(name: str) -> None:
    """By options that its pyproject.toml has, or by files of its own."""
    row = PAGE[name]
    assert row.backends
    assert [each for each in row.backends if each not in (*BACKENDS, DEMO)] == []
    for backend, how in row.backends.items():
        options, files = _QUOTED.findall(how), _LINK.findall(how)
        assert options or files, f"{backend}: neither an option nor a file: {how}"
        assert set(options) <= options_of(backend), backend
        own = EXAMPLES / backend
        assert [each for each in files if not is_within(DOCS / each, own)] == []


def has_tests(path: Path) -> bool:
    """Return whether there is a test at *path*, or below it."""
    files = [path] if path.suffix == ".py" else path.rglob("test_*.py")
    return any(each.is_file() and _TEST.search(each.read_text()) for each in files)


def is_within(path: Path, directory: Path) -> bool:
    """Return whether *path* is there, and in *directory*."""
    return path.exists() and path.resolve().is_relative_to(directory)


def options_of(backend: str) -> set[str]:
    """Return the options that a backend sets, for itself or for some of its routes."""
    project = tomllib.loads((EXAMPLES / backend / "pyproject.toml").read_text())
    told: dict[str, Any] = project["tool"]["tonnage"]
    return {*told, *(option for route in told.get("routes", {}).values() for option in route)}
