"""A report on SQLite, decided from what :mod:`tonnage.db.report.schema` has asked. Pure.

SQLite counts no reads, so that unused indexes cannot be known. That foreign keys are enforced, each
connection has to say for itself: a file cannot tell. The thresholds stand here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.db.report.findings import MOST_LINES, Finding, Report, Sized, section
from tonnage.db.report.indexes import ForeignKey, superfluous, without_index
from tonnage.db.report.schema import quoted
from tonnage.db.report.words import share
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tonnage.db.report.schema import Answers

#: Free pages that are worth a line: their part of the file, and how much it is.
FREE_SHARE: Final = 0.2
FREE_BYTES: Final = MIB
#: A write-ahead log larger than this was not merged for long.
LOG_BYTES: Final = 16 * MIB
#: Rows from which on statistics matter.
MANY_ROWS: Final = 1000


def report_of(shown: str, answers: Answers) -> Report:
    """Return the report that *answers* make, on the database that is *shown* so."""
    unknown = [*answers.unknown, "unused indexes: SQLite does not count reads"]
    if answers.damage is None:
        unknown.append("damage: not asked for (--quick-check)")
    found = (
        section("Damage", "restore a backup, or try .recover", _damages(answers)),
        section(
            "Indexes there twice",
            "another index does the work of each",
            superfluous(answers.indexes, lambda index: f"DROP INDEX {index.name};"),
        ),
        section(
            "Foreign keys without an index",
            "a delete in the other table reads all of this one, while nobody else can write",
            without_index(answers.keys, answers.indexes, lambda key: _create(key, answers)),
        ),
        section("Statistics", "without them queries are planned badly", _unanalysed(answers)),
        section("The file", "its form and what is free in it", _of_file(answers.facts)),
    )
    # What was not looked for is not sound.
    shown_sections = found if answers.damage is not None else found[1:]
    return Report(shown, _facts(answers), _largest(answers), shown_sections, tuple(unknown))


def _create(key: ForeignKey, answers: Answers) -> str:
    plain = "_".join(each.strip('"') for each in (key.table, *key.columns))
    while any(index.name == quoted(plain) for index in answers.indexes):
        plain += "_all"  # the name is taken, by an index of some rows for example
    return f"CREATE INDEX {quoted(plain)} ON {key.table} ({', '.join(key.columns)});"


def _damages(answers: Answers) -> Iterator[Finding]:
    for each in answers.damage or ():
        yield Finding("damage", each)


def _unanalysed(answers: Answers) -> Iterator[Finding]:
    with_index = {index.table for index in answers.indexes if index.name != "rowid"}
    for table, rows in answers.rows.items():
        if (
            quoted(table) in with_index
            and (rows or 0) >= MANY_ROWS
            and table not in answers.analysed
        ):
            yield Finding(
                quoted(table), "has indexes, and was never analyzed", f"ANALYZE {quoted(table)};"
            )


def _of_file(facts: Mapping[str, str | int]) -> Iterator[Finding]:
    page_bytes, pages = int(facts["page_size"]), int(facts["page_count"])
    free_bytes = int(facts["freelist_count"]) * page_bytes
    if free_bytes >= FREE_BYTES and free_bytes >= FREE_SHARE * pages * page_bytes:
        told = f"{share(free_bytes, pages * page_bytes)} of it is free; it is written anew, locked"
        yield Finding("free pages", told, "VACUUM;", free_bytes)
    if facts["journal_mode"] != "wal":
        told = f"{facts['journal_mode']}: readers and the writer wait for each other"
        yield Finding("journal_mode", told, "PRAGMA journal_mode = WAL;")
    log_bytes = int(facts["log_bytes"])
    if log_bytes >= LOG_BYTES:
        told = "was not merged for long: is there a reader that never ends?"
        yield Finding("write-ahead log", told, "PRAGMA wal_checkpoint(TRUNCATE);", log_bytes)


def _facts(answers: Answers) -> tuple[tuple[str, str], ...]:
    facts = answers.facts
    size_bytes = int(facts["page_size"]) * int(facts["page_count"])
    free_bytes = int(facts["page_size"]) * int(facts["freelist_count"])
    log_bytes = int(facts["log_bytes"])
    return (
        ("library", f"SQLite {facts['version']}"),
        ("file", f"{format_bytes(size_bytes)}, {format_bytes(free_bytes)} of it free"),
        ("journal", f"{facts['journal_mode']}, its log {format_bytes(log_bytes)}"),
        ("rows", "at most: the largest number that a row has"),
        ("foreign keys", f"{len(answers.keys)}; enforced only where a connection says so"),
    )


def _largest(answers: Answers) -> tuple[Sized, ...]:
    by_index: dict[str, int] = {}
    for index in answers.indexes:
        by_index[index.table] = by_index.get(index.table, 0) + (index.size_bytes or 0)
    known = bool(answers.sizes)
    tables = [
        Sized(
            quoted(table),
            rows,
            answers.sizes.get(table) if known else None,
            by_index.get(quoted(table), 0) if known else None,
        )
        for table, rows in answers.rows.items()
    ]
    ordered = sorted(tables, key=lambda each: -((each.table_bytes or 0) + (each.index_bytes or 0)))
    return tuple(ordered[:MOST_LINES])
