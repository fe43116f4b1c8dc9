"""How rows are counted and weighed, and how much is fetched at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tonnage.db.guard.chunks import fetch_chunk
from tonnage.db.guard.tally import Tally
from tonnage.db.guard.texts import MOST_CHARACTERS, shortened
from tonnage.db.guard.weights import weigh
from tonnage.errors import ResultTooLargeError
from tonnage.stores.sizes import size_bytes
from tonnage.units import MIB

ROWS: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "numbers": lambda n: (n * 1000, n / 7, Decimal(n), n % 2 == 0),
    "strings": lambda n: (n * 1000, "x" * (n % 300), "ä€" * (n % 50), b"y" * (n % 99)),
    "others": lambda n: (timedelta(n), datetime.now(UTC), None, f"{n}" if n % 3 else None),
    "documents": lambda n: ({"a": [n * 1000, f"{n}"], "b": {"c": "x" * 20}}, [1.5, "abc" * 30]),
}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("count", [1, 2, 100, 5000])
def test_rows_are_weighed_within_a_quarter(kind: str, count: int) -> None:
    """Of what an exact look at each finds."""
    rows = [ROWS[kind](n) for n in range(1000, 1000 + count)]
    exact = sum(map(size_bytes, rows))
    assert 0.75 * exact <= weigh(rows) <= 1.25 * exact


def test_one_large_row_among_many_is_seen() -> None:
    """Strings are weighed one by one, none is left out by a sample."""
    rows = [(n, "x") for n in range(3000)]
    rows[1234] = (1234, "x" * 40 * MIB)
    assert weigh(rows) > 40 * MIB
    assert weigh([*rows[:1000], (1, None), *rows[1000:]]) > 40 * MIB


@given(st.lists(st.tuples(st.none() | st.text() | st.integers(), st.none() | st.binary())))
def test_anything_can_be_weighed(rows: list[tuple[Any, ...]]) -> None:
    """Also columns of several kinds, as SQLite has them."""
    assert weigh(rows) >= 56 * len(rows)


@given(
    row_bytes=st.integers(0, 200_000),
    max_rows=st.integers(1, 20_000),
    max_bytes=st.integers(1, 40 * MIB),
)
@settings(max_examples=60, deadline=None)
def test_never_more_than_a_row_or_a_chunk_too_many(
    row_bytes: int, max_rows: int, max_bytes: int
) -> None:
    """As long as rows are alike, as here."""
    tally = Tally("SELECT", max_rows, max_bytes)
    row = ("x" * row_bytes,)
    each = weigh([row])
    before = 0
    while True:
        asked = tally.next_rows
        assert asked >= 1
        try:
            tally.count([row] * asked)
        except ResultTooLargeError:
            break
        before = tally.size_bytes
    assert tally.rows <= max_rows + 1
    assert before <= max_bytes
    if before:
        assert tally.size_bytes - before <= max(1.1 * MIB, each * 1.1)


@given(st.text("aE'\"\\$-/*\n ", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_statement_can_be_shown(statement: str) -> None:
    """Whatever is not ended in it."""
    assert len(shortened(statement)) <= MOST_CHARACTERS


@given(row_bytes=st.integers(0, 200_000), count=st.integers(0, 20_000))
@settings(max_examples=60, deadline=None)
def test_a_chunk_is_about_a_megabyte_or_all_rows(row_bytes: int, count: int) -> None:
    """It begins with one row, whatever may be asked for."""
    rows = [("x" * row_bytes,)] * count
    each = weigh(rows[:1])
    asked = []

    def fetchmany(size: int) -> list[tuple[str]]:
        asked.append(size)
        begin = sum(asked[:-1])
        return rows[begin : begin + size]

    found, size_bytes, is_done = fetch_chunk(fetchmany, 5000)
    assert asked[0] == 1
    assert found == rows[: len(found)]
    assert size_bytes == weigh(found)
    if is_done:
        assert len(found) == count
    else:
        assert len(found) == 5000 or size_bytes >= MIB
    assert size_bytes <= 2.1 * MIB + each


def test_chunks_grow_to_a_megabyte() -> None:
    """And no faster than by the eightfold, as rows may grow, too."""
    tally = Tally("SELECT", None, None)
    found = []
    for _ in range(6):
        found.append(tally.next_rows)
        tally.count([("x" * 1000,)] * tally.next_rows)
    assert found[:2] == [100, 800]
    assert 900 < found[2] == found[-1] < 1100
    assert 0.9 * MIB < tally.next_bytes < 1.1 * MIB


def test_a_warning_comes_once_a_minute_for_each_statement(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever its values are."""
    now = 0.0

    def execute(statement: str) -> None:
        tally = Tally(statement, 1, None, "warn", clock=lambda: now)
        tally.count([(1,), (2,)])
        tally.count([(1,), (2,)])

    with caplog.at_level(logging.WARNING, "tonnage.db"):
        for now in (1000.0, 1001.0, 1059.0):
            execute(f"SELECT tally WHERE name = '{now}'")
        execute("SELECT another_tally")
        assert len(caplog.records) == 2
        now = 1060.0
        execute("SELECT tally WHERE name = 'x'")
    assert len(caplog.records) == 3
    assert "SELECT tally WHERE name = ?" in caplog.text


def test_statements_are_shown_short_and_without_values() -> None:
    """Also one that ends within a value, and an IN whose values come later."""
    assert shortened("SELECT *\n  FROM t\n WHERE a = 'it''s' AND b = 'x") == (
        "SELECT * FROM t WHERE a = ? AND b = ?"
    )
    assert shortened("SELECT $$se\ncret$$, $1, $a_$a $ b$a_$, $2 WHERE c = $b$x") == (
        "SELECT ?, $1, ?, $2 WHERE c = ?"
    )
    assert shortened("SELECT 1 WHERE id IN (__[POSTCOMPILE_id_1])") == "SELECT 1 WHERE id IN (...)"
    assert shortened(r"SELECT E'it\'s secret', e'\\', N'x' FROM t") == "SELECT ?, ?, N? FROM t"
    assert shortened("SELECT 1 -- it's\n, 'secret' /* it's\n */ FROM \"it's\", 'secret'") == (
        'SELECT 1 , ? FROM "it\'s", ?'
    )
    # Which of the two it is depends on the database.
    assert shortened(r"SELECT 'a\'s secret', 'secret' FROM t") == "SELECT ?"
    assert shortened("SELECT 'C:\\") == "SELECT ?"
    long = shortened("SELECT " + "'secret', " * 10_000)
    assert len(long) == MOST_CHARACTERS
    assert long.endswith("...")
    assert "secret" not in long
