"""What is to be said of PostgreSQL's tables and sequences, from what their questions brought.

Pure. The thresholds stand here; nothing below them is worth a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.db.report.findings import MOST_LINES, Finding, Section, Sized, section
from tonnage.db.report.words import ago, share
from tonnage.units import MIB, counted, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tonnage.db.sessions import Row

#: Reading all of a table smaller than this costs nothing that anyone notices.
LARGE_BYTES: Final = 10 * MIB
#: Rows that a reading of all of a table goes through, on the average, to be told of; and how often.
MANY_ROWS: Final = 10_000
MANY_SCANS: Final = 20
DEAD_SHARE: Final = 0.2
#: How far a table may be above the size that its rows need.
LOOSE_FACTOR: Final = 2.0
#: The part of a sequence that is used up.
USED_SHARE: Final = 0.5
#: The title of a section.
BLOAT: Final = "Bloat"
# Bytes of a row beside its values: its header, its place in the page, alignment.
_ROW_BYTES: Final = 32


def of_tables(tables: Sequence[Row], since: str) -> Iterator[Section]:
    """Yield what is to be said of *tables*, whose readings are counted *since* then."""
    why = f"an index may be missing; counted {since}"
    yield section("Large tables read from end to end", why, _scanned(tables))
    why = "room that VACUUM frees for new rows"
    yield section("Dead rows", why, _dead(tables))
    why = "an estimate of what a table takes beyond what its rows need; it never shrinks itself"
    yield section(BLOAT, why, _loose(tables))
    why = "without them, or with old ones, queries are planned badly"
    yield section("Statistics", why, _unanalysed(tables))
    why = "kept beside the rows: leave their columns out of lists, as tonnage.db.only() does"
    yield section("Large values", why, _large(tables))


def _scanned(tables: Sequence[Row]) -> Iterator[Finding]:
    for row in tables:
        scans, rows_read = row["seq_scan"] or 0, row["seq_tup_read"] or 0
        if row["table_bytes"] < LARGE_BYTES or scans < MANY_SCANS:
            continue
        if rows_read / scans >= MANY_ROWS:
            told = (
                f"{counted(scans, 'time')}, {rows_read // scans:,} rows each; by an index "
                f"{counted(row['idx_scan'], 'time')}"
            )
            yield Finding(row["name"], told, None, row["table_bytes"])


def _dead(tables: Sequence[Row]) -> Iterator[Finding]:
    for row in tables:
        dead, live = row["dead"] or 0, row["live"] or 0
        if dead >= MANY_ROWS and dead >= DEAD_SHARE * (dead + live):
            freed = int(row["table_bytes"] * dead / (dead + live))
            told = (
                f"{dead:,} dead rows, {share(dead, dead + live)}; vacuumed {_when(row, 'vacuum')}"
            )
            yield Finding(row["name"], told, f"VACUUM (ANALYZE) {row['name']};", freed)


def _loose(tables: Sequence[Row]) -> Iterator[Finding]:
    for row in tables:
        if not row["row_bytes"] or row["rows"] <= 0:
            continue
        needed = row["rows"] * (row["row_bytes"] + _ROW_BYTES) / 0.95
        spare = int(row["main_bytes"] - needed)
        if spare >= LARGE_BYTES and row["main_bytes"] >= LOOSE_FACTOR * needed:
            told = f"about {share(spare, row['main_bytes'])} of {format_bytes(row['main_bytes'])}"
            yield Finding(
                row["name"],
                f"{told}; VACUUM FULL locks the table until it is done, pg_repack does not",
                f"VACUUM FULL {row['name']};",
                spare,
            )


def _unanalysed(tables: Sequence[Row]) -> Iterator[Finding]:
    for row in tables:
        live, changed = row["live"] or 0, row["changed"] or 0
        if live >= MANY_ROWS and changed >= live / 2:
            told = f"{changed:,} rows changed since it was analyzed, {_when(row, 'analyze')}"
            yield Finding(row["name"], told, f"ANALYZE {row['name']};")


def _when(row: Row, what: str) -> str:
    seconds = row[f"{what}_seconds"]
    return "never" if seconds is None else ago(seconds)


def ending(sequences: Sequence[Row]) -> Iterator[Finding]:
    """Yield those of *sequences* that are used up by half, with what gives them room."""
    for row in sequences:
        used, last = row["last_value"], row["last_possible"]
        if used is None or used < USED_SHARE * last:
            continue
        told = f"{share(used, last)} of {last:,} used"
        # The sequence has a type of its own: that of a serial column does not follow the column's.
        statements = []
        if row["is_short"]:
            statements.append(f"ALTER SEQUENCE {row['name']} AS bigint NO MAXVALUE;")
        if row["is_short_column"]:
            told += f", for {row['table']}; the table is written anew, locked"
            statements.append(
                f"ALTER TABLE {row['table']} ALTER COLUMN {row['column']} TYPE bigint;"
            )
        yield Finding(row["name"], told, " ".join(statements) or None)


def _large(tables: Sequence[Row]) -> Iterator[Finding]:
    for row in tables:
        if row["large_bytes"] >= LARGE_BYTES:
            columns = ", ".join(row["unbounded"][:MOST_LINES])
            told = (
                f"of {format_bytes(row['table_bytes'])}; columns without a bound: {columns or '-'}"
            )
            yield Finding(row["name"], told, None, row["large_bytes"])


def largest(tables: Sequence[Row]) -> tuple[Sized, ...]:
    """Return the largest of *tables*."""
    ordered = sorted(tables, key=lambda row: -(row["table_bytes"] + row["index_bytes"]))
    return tuple(
        Sized(
            row["name"],
            max(row["rows"], row["live"] or 0),
            row["table_bytes"],
            row["index_bytes"],
            f"vacuumed {_when(row, 'vacuum')}, analyzed {_when(row, 'analyze')}",
        )
        for row in ordered[:MOST_LINES]
    )
