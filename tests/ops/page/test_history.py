"""The past that the page's picture is made of."""

from __future__ import annotations

from tonnage.ops.page.history import COLUMNS, EVERY_SECONDS, ROWS, History


def row(number: int) -> list[float]:
    """Return a row that says its number in each column."""
    return [1_700_000_000.25 + EVERY_SECONDS * number, *[number * 2**30] * 7, number % 4]


def test_rows_come_back_as_they_were_noted() -> None:
    """Sizes exactly, times to a tenth of a second, with the names of the columns."""
    history = History()
    history.note(row(0))
    history.note(row(3))

    found = history.as_json()

    assert found["every_seconds"] == EVERY_SECONDS
    assert found["columns"] == COLUMNS
    assert found["rows"] == [
        [1_700_000_000.2, *[0] * 7, 0],
        [1_700_000_015.2, *[3 * 2**30] * 7, 3],
    ]


def test_it_begins_empty() -> None:
    """A server that has just started has no past."""
    assert History().rows() == []


def test_the_oldest_row_gives_way() -> None:
    """Fifteen minutes are kept, in their order, also after going round several times."""
    history = History()
    for number in range(2 * ROWS + 7):
        history.note(row(number))

    rows = history.rows()

    assert len(rows) == ROWS == 15 * 60 / EVERY_SECONDS
    assert [each[1] // 2**30 for each in rows] == list(range(ROWS + 7, 2 * ROWS + 7))
