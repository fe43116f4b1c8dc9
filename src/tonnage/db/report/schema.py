"""What SQLite is asked for a report: its schema, its file, and if wanted whether it is damaged.

Promises: the session only reads. What takes reading all of the file (sizes, and the check for
damage) is named as unknown where it cannot be asked, or takes too long; the rest is answered.
Bounded: :data:`MOST_TABLES` tables are looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.db.parameters import names
from tonnage.db.report.findings import MOST_LINES
from tonnage.db.report.indexes import ForeignKey, Index
from tonnage.errors import DatabaseError
from tonnage.units import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tonnage.db.sessions import Row, Session

#: Tables that are looked at.
MOST_TABLES: Final = 1000

# What ends the list of an index's keys, and begins its condition.
_WHERE: Final = re.compile(r"\)\s*where\b", re.IGNORECASE)
_WITHOUT_QUOTES: Final = str.maketrans("", "", '"`[]()')

_BROKEN_KEYS: Final = f"""
SELECT "table", parent, count(*) AS broken FROM pragma_foreign_key_check
 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT {MOST_LINES}
"""


@dataclass(slots=True)
class Answers:
    """What SQLite has said.

    Attributes:
        facts: version, pragmas and sizes of files, by name.
        rows: how many rows the tables have, at most; None where it is not known.
        sizes: bytes of tables and indexes by name; empty where they are not known.
        analysed: the tables of which there are statistics.
        indexes: of all tables.
        keys: the foreign keys of all tables.
        damage: what a check has found; None: none was made.
        unknown: what could not be asked.
    """

    facts: dict[str, str | int] = field(default_factory=dict)
    rows: dict[str, int | None] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    analysed: set[str] = field(default_factory=set)
    indexes: list[Index] = field(default_factory=list)
    keys: list[ForeignKey] = field(default_factory=list)
    damage: list[str] | None = None
    unknown: list[str] = field(default_factory=list)


def ask(session: Session, is_checked: bool = False) -> Answers:
    """Return what the database says; with *is_checked*, whether it is damaged.

    Raises:
        DatabaseError: it is no SQLite database, or is locked.
    """
    answers = Answers()
    tables = session.rows(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        f" AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name LIMIT {MOST_TABLES}"
    )
    answers.facts["version"] = _only(session.rows("SELECT sqlite_version()"))
    for name in ("page_size", "page_count", "freelist_count", "journal_mode"):
        answers.facts[name] = _only(session.rows(f"PRAGMA {name}"))
    answers.facts["log_bytes"] = _log_bytes(session)
    answers.sizes = _sizes(session, answers.unknown)
    has_statistics = session.rows("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")
    if has_statistics:
        found = session.rows("SELECT DISTINCT tbl FROM sqlite_stat1")
        answers.analysed = {row["tbl"] for row in found}
    for table in tables:
        _ask_table(session, table["name"], answers)
    if is_checked:
        answers.damage = _damage(session, answers.unknown)
    return answers


def _only(rows: list[Row]) -> str | int:
    """Return the one value of *rows*."""
    found: str | int = next(iter(rows[0].values())) if rows else ""
    return found


def _log_bytes(session: Session) -> int:
    for row in session.rows("PRAGMA database_list"):
        log = Path(f"{row['file']}-wal")
        if row["name"] == "main" and log.is_file():
            return log.stat().st_size
    return 0


def _sizes(session: Session, unknown: list[str]) -> dict[str, int]:
    try:
        # Page by page: SQLite's own sum for each table would not end when it takes too long.
        rows = session.rows("SELECT name, sum(pgsize) AS pgsize FROM dbstat GROUP BY name")
    except DatabaseError as error:
        unknown.append(f"sizes of tables and indexes: {error}")
        return {}
    return {row["name"]: row["pgsize"] for row in rows}


def _ask_table(session: Session, table: str, answers: Answers) -> None:
    name = quoted(table)
    columns = session.rows(f"PRAGMA table_info({name})")
    answers.rows[table] = _most_rows(session, name, columns)
    for row in session.rows(f"PRAGMA index_list({name})"):
        answers.indexes.append(_index(session, table, row, answers.sizes))
    keys: dict[int, list[Row]] = {}
    for row in session.rows(f"PRAGMA foreign_key_list({name})"):
        keys.setdefault(row["id"], []).append(row)
    for rows in keys.values():
        referring = tuple(quoted(row["from"]) for row in sorted(rows, key=lambda row: row["seq"]))
        answers.keys.append(
            ForeignKey(
                table=name,
                columns=referring,
                refers_to=quoted(rows[0]["table"]),
                table_bytes=answers.sizes.get(table),
            )
        )
    primary = [row for row in columns if row["pk"]]
    # The number of a row is an index that no list names.
    if len(primary) == 1 and primary[0]["type"].upper() == "INTEGER":
        column = quoted(primary[0]["name"])
        answers.indexes.append(
            Index(table=name, name="rowid", keys=(column,), columns=(column,), is_needed=True)
        )


def _most_rows(session: Session, name: str, columns: list[Row]) -> int | None:
    """Return the largest number of a row: found at once, where counting reads all."""
    taken = {row["name"].lower() for row in columns}
    free = next((each for each in ("rowid", "_rowid_", "oid") if each not in taken), None)
    if free is None:
        return None
    try:
        return int(_only(session.rows(f"SELECT max({free}) FROM {name}")) or 0)  # 0: it is empty
    except DatabaseError:
        return None  # it is WITHOUT ROWID


def _index(session: Session, table: str, row: Row, sizes: Mapping[str, int]) -> Index:
    parts = session.rows(f"PRAGMA index_xinfo({quoted(row['name'])})")
    keys = [part for part in parts if part["key"]]
    condition = ""
    if row["partial"]:
        sql = session.rows(f"SELECT sql FROM sqlite_master WHERE name = {_text(row['name'])}")
        condition = _WHERE.split(str(_only(sql)), maxsplit=1)[-1].strip()
    # Rows without a value refer to nothing: those, an index for a foreign key may leave out.
    all_set = [f"{part['name']} is not null".lower() for part in keys]
    plain = " ".join(condition.translate(_WITHOUT_QUOTES).lower().split())
    return Index(
        table=quoted(table),
        name=quoted(row["name"]),
        keys=tuple(_key(part, row["name"]) for part in keys),
        columns=tuple("" if part["name"] is None else quoted(part["name"]) for part in keys),
        extra=f"WHERE {condition}" if condition else "",
        is_plain=not row["partial"] and all(part["name"] is not None for part in keys),
        finds_equal=not row["partial"] or plain in all_set,
        is_unique=bool(row["unique"]),
        is_needed=row["origin"] != "c",
        size_bytes=sizes.get(row["name"]),
    )


def _key(part: Row, index: str) -> str:
    # An expression has no name: it is taken for one of its own.
    name = f"an expression of {index}" if part["name"] is None else quoted(part["name"])
    collation = "" if part["coll"] == "BINARY" else f" COLLATE {part['coll']}"
    return f"{name}{collation}{' DESC' if part['desc'] else ''}"


def _damage(session: Session, unknown: list[str]) -> list[str]:
    try:
        found = [str(_only([row])) for row in session.rows(f"PRAGMA quick_check({MOST_LINES})")]
        found += [
            f"{counted(row['broken'], 'row')} of {row['table']} without one of {row['parent']}"
            for row in session.rows(_BROKEN_KEYS)
        ]
    except DatabaseError as error:
        unknown.append(f"damage: {error}")
        return []
    return [each for each in found if each != "ok"]


def quoted(name: str) -> str:
    """Return *name* as a statement has it: as it is where that will do."""
    if name.isidentifier() and name.isascii() and name.upper() not in _KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# Those that are likely names of tables and columns.
_KEYWORDS: Final = names(
    """
    ADD ALL AND AS BETWEEN CASE CHECK COLLATE COMMIT CREATE DEFAULT DELETE DISTINCT DROP ELSE
    ESCAPE EXISTS FOREIGN FROM GROUP HAVING IN INDEX INSERT INTO IS ISNULL JOIN LIMIT NOT
    NOTNULL NULL ON OR ORDER PRIMARY REFERENCES SELECT SET TABLE THEN TO TRANSACTION UNION
    UNIQUE UPDATE USING VALUES WHEN WHERE
    """
)
