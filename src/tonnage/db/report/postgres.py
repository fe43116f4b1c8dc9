"""A report on PostgreSQL: asked in read-only statements, then decided from the answers alone.

Promises: each question is a statement of its own, with a time-out; one that fails is named in the
report, and the others are answered. No lock is waited for longer than :data:`LOCK_MILLISECONDS`.
What is told rests on statistics of this server: a replica has its own, and those of a database that
was just restored or upgraded say little.

The thresholds stand here; nothing below them is worth a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.db.report import questions
from tonnage.db.report.findings import MOST_LINES, Finding, Report, Sized, section
from tonnage.db.report.indexes import ForeignKey, Index, superfluous, unused, without_index
from tonnage.db.report.server import connections, facts, settings
from tonnage.db.report.words import ago, counted, share
from tonnage.errors import DatabaseError
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tonnage.db.sessions import Row, Session

Answers = dict[str, list[dict[str, Any]]]

LOCK_MILLISECONDS: Final = 1000
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
# Bytes of a row beside its values: its header, its place in the page, alignment.
_ROW_BYTES: Final = 32

_QUESTIONS: Final[Mapping[str, str]] = {
    "server": questions.SERVER,
    "settings": questions.SETTINGS,
    "connections": questions.CONNECTIONS,
    "waiting": questions.IDLE_IN_TRANSACTION,
    "tables": questions.TABLES,
    "indexes": questions.INDEXES,
    "foreign keys": questions.FOREIGN_KEYS,
    "sequences": questions.SEQUENCES,
}


def ask(session: Session) -> tuple[Answers, tuple[str, ...]]:
    """Return the answers, and what could not be asked; in a transaction that can write nothing.

    Raises:
        DatabaseError: the database answers nothing at all.
    """
    session.rows("BEGIN READ ONLY")
    session.rows(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
    answers: Answers = {}
    unknown: list[str] = []
    locked: dict[int, str] = {}
    for name, question in _QUESTIONS.items():
        try:
            answers[name] = _asked(session, questions.filled(question, locked))
        except DatabaseError:
            rows = _asked(session, questions.filled(questions.LOCKED))
            locked |= {row["number"]: row["name"] for row in rows}
            try:
                answers[name] = _asked(session, questions.filled(question, locked))
            except DatabaseError as error:
                answers[name] = []
                unknown.append(f"{name}: {error}")
    session.rows("ROLLBACK")
    unknown += [f"{name}: locked by others just now" for name in sorted(locked.values())]
    return answers, tuple(unknown)


def _asked(session: Session, question: str) -> list[Row]:
    """Return the answer; if there is none, the transaction can go on all the same."""
    session.rows("SAVEPOINT question")
    try:
        return session.rows(question)
    except DatabaseError:
        session.rows("ROLLBACK TO SAVEPOINT question")
        raise


def report_of(shown: str, answers: Answers, unknown: tuple[str, ...] = ()) -> Report:
    """Return the report that *answers* make, on the database that is *shown* so."""
    tables = answers["tables"]
    indexes = [_index(row) for row in answers["indexes"]]
    keys = [_key(row) for row in answers["foreign keys"]]
    server = answers["server"][0] if answers["server"] else {}
    since = _since(server)
    found = (
        connections(answers),
        section(
            "Sequences close to their end",
            "afterwards every insert fails",
            _ending(answers["sequences"]),
        ),
        section(
            "Invalid indexes",
            "left by a CREATE INDEX CONCURRENTLY that failed; written, never read",
            _invalid(indexes),
        ),
        section(
            "Foreign keys without an index",
            "a delete in the other table reads all of this one, with locks held",
            without_index(keys, indexes, _create),
        ),
        section(
            "Indexes there twice",
            "another index does the work of each",
            superfluous(indexes, _drop),
        ),
        section(
            "Unused indexes",
            f"each costs time at every write; counted {since}, on this server alone",
            unused(indexes, keys, _drop),
        ),
        section(
            "Large tables read from end to end",
            f"an index may be missing; counted {since}",
            _scanned(tables),
        ),
        section("Dead rows", "room that VACUUM frees for new rows", _dead(tables)),
        section(
            "Bloat",
            "an estimate of what a table takes beyond what its rows need; it never shrinks itself",
            _loose(tables),
        ),
        section(
            "Statistics",
            "without them, or with old ones, queries are planned badly",
            _unanalysed(tables),
        ),
        section(
            "Large values",
            "kept beside the rows: leave their columns out of lists, as tonnage.db.only() does",
            _large(tables),
        ),
        settings(answers),
    )
    return Report(shown, facts(answers), _largest(tables), found, unknown)


def _index(row: Row) -> Index:
    # Rows without a value refer to nothing: those, an index for a foreign key may leave out.
    all_or_set = (None, *(f"({column} IS NOT NULL)" for column in row["columns"]))
    extra = [
        row["method"] if row["method"] != "btree" else "",
        f"INCLUDE ({', '.join(row['included'])})" if row["included"] else "",
        f"WHERE {row['condition']}" if row["condition"] else "",
    ]
    return Index(
        table=row["table"],
        name=row["name"],
        keys=tuple(row["keys"]),
        columns=tuple(row["columns"]),
        extra=" ".join(filter(None, extra)),
        is_plain=row["method"] == "btree" and not row["condition"],
        finds_equal=row["method"] in ("btree", "hash") and row["condition"] in all_or_set,
        is_unique=row["is_unique"],
        is_needed=row["is_needed"],
        is_valid=row["is_valid"],
        size_bytes=row["size_bytes"],
        scans=row["scans"],
    )


def _key(row: Row) -> ForeignKey:
    return ForeignKey(
        table=row["table"],
        columns=tuple(row["columns"]),
        refers_to=row["refers_to"],
        table_bytes=row["table_bytes"],
        is_partitioned=row["is_partitioned"],
    )


def _drop(index: Index) -> str:
    return f"DROP INDEX CONCURRENTLY {index.name};"


def _create(key: ForeignKey) -> str:
    # Of a table in parts no index can be made that way.
    how = "" if key.is_partitioned else "CONCURRENTLY "
    return f"CREATE INDEX {how}ON {key.table} ({', '.join(key.columns)});"


def _since(server: Mapping[str, Any]) -> str:
    seconds = server.get("statistics_seconds")
    # Never reset means: since the database was made.
    return "since the database was made" if seconds is None else f"since {ago(seconds)}"


def _invalid(indexes: Sequence[Index]) -> Iterator[Finding]:
    for index in indexes:
        if not index.is_valid:
            told = f"on {index.table} ({', '.join(index.keys)})"
            yield Finding(
                index.name, told, f"REINDEX INDEX CONCURRENTLY {index.name};", index.size_bytes
            )


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
            told = f"{changed:,} rows changed since; analyzed {_when(row, 'analyze')}"
            yield Finding(row["name"], told, f"ANALYZE {row['name']};")


def _when(row: Row, what: str) -> str:
    seconds = row[f"{what}_seconds"]
    return "never" if seconds is None else ago(seconds)


def _ending(sequences: Sequence[Row]) -> Iterator[Finding]:
    for row in sequences:
        used, last = row["last_value"], row["last_possible"]
        if used >= USED_SHARE * last:
            told = f"{share(used, last)} of {last:,} used"
            statement = None
            if row["table"] is not None:
                told += f", for {row['table']}; the table is written anew, locked"
                statement = f"ALTER TABLE {row['table']} ALTER COLUMN {row['column']} TYPE bigint;"
            yield Finding(row["name"], told, statement)


def _large(tables: Sequence[Row]) -> Iterator[Finding]:
    for row in tables:
        if row["large_bytes"] >= LARGE_BYTES:
            columns = ", ".join(row["unbounded"][:MOST_LINES])
            told = (
                f"of {format_bytes(row['table_bytes'])}; columns without a bound: {columns or '-'}"
            )
            yield Finding(row["name"], told, None, row["large_bytes"])


def _largest(tables: Sequence[Row]) -> tuple[Sized, ...]:
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
