"""How large and tangled the code may become, and whether docs/architecture.md says so truly."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

#: What the figures may come to before somebody has to look: little above what they are. Who has a
#: reason raises one here, in the change that needs it.
MOST_CLASS_LINES = 400
MOST_FUNCTION_LINES = 80
MOST_ATTRIBUTES = 30
MOST_MODULE_LINES = 500
MOST_BROAD_EXCEPTS_PER_1000 = 3.0
#: Packages that are not to be there, and what neither this machine nor an argument can be.
MOST_MOCKS = 12

#: The page may lag by such a share of a figure, or by so much of a small one.
LAG = 0.15
LEAST_LAG = 2.0


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """What scripts/code_numbers.py defines."""
    return runpy.run_path(str(ROOT / "scripts" / "code_numbers.py"))


@pytest.fixture(scope="module")
def ours(script: dict[str, Any]) -> Any:
    """The figures of the code as it is."""
    return script["measure"](ROOT / "src" / "tonnage", ROOT / "tests")


def figures(row: str) -> list[float]:
    """Return the numbers in a row of a table."""
    return [float(each) for each in re.findall(r"\d+(?:\.\d+)?", row)]


def test_the_page_has_the_tables_of_the_script(script: dict[str, Any], ours: Any) -> None:
    """The rows of others as they are; ours, which each change moves, nearly."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    told = [line for line in page.splitlines() if line.startswith("| **Tonnage** ")]
    for line in script["tables"](ours).splitlines():
        if line.startswith("| **Tonnage** "):
            for now, then in zip(figures(line), figures(told.pop(0)), strict=True):
                assert then == pytest.approx(now, rel=LAG, abs=LEAST_LAG), line
        else:
            assert line in page.splitlines()
    assert told == []


def test_no_part_outgrows_the_others(ours: Any) -> None:
    """It is the largest that make code hard to change, not the usual ones."""
    assert ours.largest_class.size <= MOST_CLASS_LINES, ours.largest_class
    assert ours.longest_function.size <= MOST_FUNCTION_LINES, ours.longest_function
    assert ours.most_attributes.size <= MOST_ATTRIBUTES, ours.most_attributes
    assert max(each.lines for each in ours.modules) <= MOST_MODULE_LINES


def test_errors_are_caught_by_name(ours: Any) -> None:
    """But where whatever happens has to be recorded, or cleaned up after."""
    broad = sum(each.broad_excepts for each in ours.modules)
    assert 1000 * broad / ours.code_lines <= MOST_BROAD_EXCEPTS_PER_1000


def test_hardly_anything_is_patched(ours: Any) -> None:
    """What a test needs to be otherwise is passed in, as far as it can be."""
    assert ours.tests.mocks <= MOST_MOCKS


def test_what_is_patched_is_counted(script: dict[str, Any], tmp_path: Path) -> None:
    """Objects, by whichever tool; not variables, directories and paths of the process."""
    patching, given = "monkeypatch", "(os, 1, 2)"
    objects = ("setattr", "delattr", "setitem", "delitem")
    others = ("setenv", "delenv", "chdir", "syspath_prepend")
    lines = [f"{patching}.{name}{given}" for name in (*objects, *others)]
    lines += ["mock.patch" + given, "Mock" + "()"]
    (tmp_path / "test_it.py").write_text("\n".join(lines))

    assert script["measure"](tmp_path, tmp_path).tests.mocks == len(objects) + 2


def test_a_module_is_counted(script: dict[str, Any]) -> None:
    """As the head of the script says, with one of each kind."""
    text = '''"""A docstring,
of two lines."""

import os  # a comment beside code is none of its own


# A comment.
class Box:
    """One line."""

    size: int

    def __init__(self, size, *others: int) -> None:
        self.size, self.other = size, os.name

        def inner():
            try:
                self.third = 1
            except (ValueError, Exception):
                pass
'''
    counted = script["count_module"](text, "box.py")
    assert (counted.lines, counted.docstring_lines, counted.comment_lines) == (20, 3, 1)
    assert counted.code_lines == 10
    assert [(each.size, each.where) for each in counted.classes] == [(13, "box.py:Box")]
    assert [each.size for each in counted.attributes] == [3]
    assert [each.size for each in counted.functions] == [8, 5]
    assert counted.functions_code == (7, 5)
    assert (counted.parameters, counted.returns) == ((0, 1), (1, 2))
    assert counted.broad_excepts == 1
