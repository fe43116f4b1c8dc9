"""The page of all results: what was measured elsewhere stays on it."""

from __future__ import annotations

from benchmarks.record import Result, machine, merged


def result(name: str, title: str) -> Result:
    """Return a table of one cell."""
    return Result(name, title, ["what"], [["1"]], [], machine(), pictures=["a.svg"])


def test_a_new_table_takes_the_place_of_the_old_one_and_others_stay() -> None:
    """In the order of their names; a heading within a section is no new section."""
    old = "# Benchmarks\n\nhead\n\n## burst\n\nold\n\n### more\n\n## stop\n\nkept\n"
    found = merged(old, [result("burst", "new"), result("mix", "added")])

    assert [section.split("\n")[0] for section in found] == ["## burst", "## mix", "## stop"]
    assert "old" not in found[0]
    assert "![new](../docs/images/a.svg)" in found[0]
    assert found[2] == "## stop\n\nkept\n"
