"""A report on PostgreSQL: asked in read-only statements, then decided from the answers alone.

Promises: each question is a statement of its own, with a time-out; one that fails is named in the
report, and the others are answered; nothing is called sound that could not be asked in full.
Tables that others have locked, or wait to lock, are left out; if a lock comes between, it is waited
for once, :data:`LOCK_MILLISECONDS`.
What is told rests on statistics of this server: a replica has its own, and those of a database that
was just restored or upgraded say little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.db.report import questions
from tonnage.db.report.findings import Finding, Report, Section, section
from tonnage.db.report.indexes import ForeignKey, Index, superfluous, unused, without_index
from tonnage.db.report.server import CONNECTIONS, connections, facts, settings
from tonnage.db.report.tables import BLOAT, ending, largest, of_tables
from tonnage.db.report.words import ago
from tonnage.errors import DatabaseError
from tonnage.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tonnage.db.sessions import Row, Session

Answers = dict[str, list[dict[str, Any]]]

LOCK_MILLISECONDS: Final = 1000
_SEQUENCES: Final = "Sequences close to their end"

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
    locked = _locked(session)
    for name, question in _QUESTIONS.items():
        try:
            answers[name] = _asked(session, questions.filled(question, locked))
        except DatabaseError:
            locked |= _locked(session)
            try:
                answers[name] = _asked(session, questions.filled(question, locked))
            except DatabaseError as error:
                unknown.append(f"{name}: {error}")
    session.rows("ROLLBACK")
    unknown += [f"{name}: locked by others just now" for name in sorted(locked.values())]
    return answers, tuple(unknown)


def _locked(session: Session) -> dict[int, str]:
    rows = _asked(session, questions.filled(questions.LOCKED))
    return {row["number"]: row["name"] for row in rows}


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
    hidden = _hidden(answers)
    known = answers.keys()
    answers = {name: answers.get(name, []) for name in _QUESTIONS}
    found = tuple(
        each
        for needed, each in _sections(answers)
        # What could not be asked, or in part only, is not sound.
        if needed <= known and (each.findings or each.title not in hidden)
    )
    return Report(
        shown, facts(answers), largest(answers["tables"]), found, (*unknown, *hidden.values())
    )


def _hidden(answers: Answers) -> dict[str, str]:
    """Return what this role may not see, and what would help, by the title of its section."""
    found: dict[str, str] = {}
    if not all(row["sees_all"] for row in answers.get("server", ())):
        found[CONNECTIONS] = "what other roles' connections do: needs GRANT pg_read_all_stats"
    for title, name in ((BLOAT, "tables"), (_SEQUENCES, "sequences")):
        count = sum(not row["is_readable"] for row in answers.get(name, ()))
        if count:
            what = counted(count, name.removesuffix("s"))
            found[title] = f"{title.lower()}, of {what}: needs GRANT pg_read_all_data"
    return found


def _sections(answers: Answers) -> Iterator[tuple[set[str], Section]]:
    """Yield the sections, each with the questions that it rests on."""
    tables = answers["tables"]
    indexes = [_index(row) for row in answers["indexes"]]
    keys = [_key(row) for row in answers["foreign keys"]]
    server = answers["server"][0] if answers["server"] else {}
    since = _since(server)
    yield {"settings", "connections", "waiting"}, connections(answers)
    yield (
        {"sequences"},
        section(
            _SEQUENCES,
            "afterwards every insert fails",
            ending(answers["sequences"]),
        ),
    )
    yield (
        {"indexes"},
        section(
            "Invalid indexes",
            "left by a CREATE INDEX CONCURRENTLY that failed; written, never read",
            _invalid(indexes),
        ),
    )
    yield (
        {"indexes", "foreign keys"},
        section(
            "Foreign keys without an index",
            "a delete in the other table reads all of this one, with locks held",
            without_index(keys, indexes, _create),
        ),
    )
    yield (
        {"indexes"},
        section(
            "Indexes there twice",
            "another index does the work of each",
            superfluous(indexes, _drop),
        ),
    )
    yield (
        {"indexes", "foreign keys"},
        section(
            "Unused indexes",
            f"each costs time at every write; counted {since}, on this server alone",
            unused(indexes, keys, _drop),
        ),
    )
    for each in of_tables(tables, since):
        yield {"tables"}, each
    yield {"server", "settings"}, settings(answers)


def _index(row: Row) -> Index:
    # Rows without a value refer to nothing: those, an index for a foreign key may leave out.
    all_or_set = (None, *(f"({column} IS NOT NULL)" for column in row["columns"]))
    extra = [
        row["method"] if row["method"] != "btree" else "",
        f"INCLUDE ({', '.join(row['included'])})" if row["included"] else "",
        "NULLS NOT DISTINCT" if row["is_null_once"] else "",
        f"WITH ({', '.join(row['options'])})" if row["options"] else "",
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
        table_reads=row["table_reads"],
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
