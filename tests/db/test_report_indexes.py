"""Which indexes a report calls superfluous, unused or missing: decided from the catalogue alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tonnage.db.report.indexes import ForeignKey, Index, superfluous, unused, without_index


def index(name: str, *columns: str, **more: bool | int | str) -> Index:
    """Return an index of the table events."""
    plain = Index(table="events", name=name, keys=columns, columns=columns, size_bytes=2**20)
    return replace(plain, **more)  # type: ignore[arg-type]


def dropped(*indexes: Index) -> list[str]:
    """Return the names of those that another one makes superfluous."""
    return [found.what for found in superfluous(indexes, lambda each: f"DROP {each.name}")]


OWNER = ForeignKey(table="events", columns=("owner",), refers_to="users", table_bytes=5)


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        ((index("a", "x"), index("b", "x")), ["b"]),
        ((index("a", "x"), index("b", "x", "y")), ["a"]),
        ((index("a", "y"), index("b", "x", "y")), []),
        ((index("a", "x DESC"), index("b", "x", "y")), []),
        # What keeps rows apart, or what a constraint stands on, is not superfluous.
        ((index("a", "x", is_unique=True), index("b", "x", "y")), []),
        ((index("a", "x", is_unique=True), index("b", "x")), ["b"]),
        ((index("a", "x"), index("b", "x", is_unique=True, is_needed=True)), ["a"]),
        ((index("a", "x", is_unique=True), index("b", "x", is_unique=True)), ["b"]),
        # Of some rows only, of another kind, or not valid: nothing stands in for another.
        ((index("a", "x"), index("b", "x", "y", extra="WHERE y", is_plain=False)), []),
        ((index("a", "x", extra="gin", is_plain=False), index("b", "x", "y")), []),
        ((index("a", "x"), index("b", "x", is_valid=False)), []),
        # One that has more in it does what the plain one does; it is not the other way round.
        ((index("a", "x", extra="INCLUDE (z)"), index("b", "x")), ["b"]),
        ((index("a", "x", extra="INCLUDE (z)"), index("b", "x", is_unique=True)), []),
        # Rules and options that differ.
        (
            (
                index("a", "x", is_unique=True, extra="NULLS NOT DISTINCT"),
                index("b", "x", is_unique=True),
            ),
            [],
        ),
        # Three that are the same: one stays.
        ((index("c", "x"), index("a", "x"), index("b", "x")), ["c", "b"]),
    ],
)
def test_what_another_index_does_is_superfluous(
    indexes: tuple[Index, ...], expected: list[str]
) -> None:
    """The same, or the beginning; one of those that are the same stays."""
    assert dropped(*indexes) == expected


def test_an_index_of_another_table_does_nothing_here() -> None:
    """Names of columns are alike everywhere."""
    assert dropped(index("a", "x"), replace(index("b", "x"), table="users")) == []


def test_an_unused_index_may_still_serve_a_foreign_key() -> None:
    """It was never read because nothing was deleted: the finding says so."""
    indexes = [
        index("by_owner", "owner", scans=0),
        index("by_title", "title", scans=0),
        index("read", "title", "owner", scans=3),
        index("only_one", "email", scans=0, is_unique=True),
        index("key", "id", scans=0, is_needed=True),
        index("uncounted", "at"),
        index("small", "at", scans=0, size_bytes=8192),
        index("old", "at", scans=0, table_reads=1000),
        index("new", "at", scans=0, table_reads=999),
    ]
    found = list(unused(indexes, [OWNER], lambda each: f"DROP {each.name}"))
    assert [each.what for each in found] == ["by_owner", "by_title", "old", "new"]
    assert found[0].told == (
        "on events (owner): never read; keep it if rows of users are ever deleted"
    )
    assert found[0].statement is None
    assert found[1].statement == "DROP by_title"
    assert found[2].statement == "DROP old"
    assert found[3].statement is None
    assert found[3].told == "on events (at): never read; its table only 999 times: wait"


@pytest.mark.parametrize(
    ("there", "is_missing"),
    [
        ([], True),
        ([index("a", "owner")], False),
        ([index("a", "owner", "title")], False),
        ([index("a", "title", "owner")], True),
        ([index("a", "owner", finds_equal=False)], True),
        ([index("a", "owner", is_plain=False)], False),
        ([index("a", "owner", is_valid=False)], True),
        ([replace(index("a", "owner"), table="users")], True),
    ],
)
def test_a_foreign_key_wants_an_index_that_begins_with_it(
    there: list[Index], is_missing: bool
) -> None:
    """One that has it further on does not find the rows."""
    found = list(without_index([OWNER], there, lambda key: "CREATE"))
    assert bool(found) is is_missing


def test_columns_of_a_foreign_key_may_come_in_any_order() -> None:
    """An index finds rows by two values whichever comes first."""
    key = replace(OWNER, columns=("a", "b"))
    assert list(without_index([key], [index("i", "b", "a", "c")], lambda key: "CREATE")) == []
    assert list(without_index([key], [index("i", "b", "c", "a")], lambda key: "CREATE")) != []
