"""``tonnage db report``: ask, decide, and print; the database is read only.

Promises: exit status 0 whatever is found. The password of the URL is in no line.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from tonnage.db.report.text import told
from tonnage.db.sessions import open_session
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from tonnage.db.report.findings import Report


def show_report(
    url: str | None,
    out: TextIO,
    *,
    as_json: bool = False,
    is_checked: bool = False,
    timeout_seconds: float = 10.0,
) -> int:
    """Print the report on the database at *url* (by default DATABASE_URL) and return 0.

    Args:
        url: the database.
        out: where to print.
        as_json: whether as JSON.
        is_checked: whether SQLite is to read the whole file for damage.
        timeout_seconds: of each question.

    Raises:
        ConfigError: no database is named, or there are no reports on its kind.
        DatabaseError: it cannot be asked.
    """
    report = _report(url, is_checked, timeout_seconds)
    if as_json:
        json.dump({**asdict(report), "facts": dict(report.facts)}, out, indent=2)
        out.write("\n")
    else:
        out.write(told(report))
    return 0


def _report(url: str | None, is_checked: bool, timeout_seconds: float) -> Report:
    from tonnage.db.urls import wanted_url

    where = wanted_url(url)
    if where.dialect not in ("postgresql", "sqlite"):
        raise ConfigError(f"there are reports on PostgreSQL and SQLite, not on {where.shown}")
    with open_session(where, statement_seconds=timeout_seconds) as session:
        if where.dialect == "sqlite":
            from tonnage.db.report import schema, sqlite

            return sqlite.report_of(where.shown, schema.ask(session, is_checked))
        from tonnage.db.report import postgres

        answers, unknown = postgres.ask(session)
        return postgres.report_of(where.shown, answers, unknown)
