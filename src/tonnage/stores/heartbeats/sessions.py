"""The table of sessions, and the two statements that change it. Pure: what is run, not when.

    id | started_at | last_beat_at | ended_at | duration_seconds | ... the application's own

Promises of the statements, whoever runs them, in whatever order, and however often: ``started_at``
is the earliest beat, ``last_beat_at`` the latest. A session that has ended has done so with its
last beat, and lasted until then. A beat that is newer than the end opens it again; one that is
older changes nothing of it. Two that end sessions at the same time never end the same one.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tonnage.stores.sinks.onlyone import needed
from tonnage.stores.sinks.sql import SqlSink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Column, Connection, MetaData, Table

_OF_OURS = ("id", "started_at", "last_beat_at", "ended_at", "duration_seconds")


@dataclass(frozen=True, slots=True)
class Session:
    """A session that has ended.

    Attributes:
        id: what it beat as.
        started_at: its first beat.
        ended_at: its last one.
        duration_seconds: what lies between.
    """

    id: str
    started_at: datetime.datetime
    ended_at: datetime.datetime
    duration_seconds: float


def sessions_table(metadata: MetaData, *columns: Column[Any], name: str = "sessions") -> Table:
    """Return the table for SQLAlchemy, to be created or migrated with the application's others.

    Args:
        metadata: the application's.
        columns: further ones that beats bring values for.
        name: its name.
    """
    needed("sqlalchemy", "sql")
    from sqlalchemy import Column as Made
    from sqlalchemy import DateTime, Double, Index, String, Table, text

    is_open = text("ended_at IS NULL")
    return Table(
        name,
        metadata,
        Made("id", String, primary_key=True),
        Made("started_at", DateTime(timezone=True), nullable=False),
        Made("last_beat_at", DateTime(timezone=True), nullable=False),
        Made("ended_at", DateTime(timezone=True)),
        Made("duration_seconds", Double),
        *columns,
        # Open sessions alone are looked for, by their last beat.
        Index(f"{name}_open", "last_beat_at", postgresql_where=is_open, sqlite_where=is_open),
    )


class SessionSink(SqlSink):
    """Brings sessions up to date with beats; a record is ``id``, the two times, and the others."""

    def _statement(self, table: Table, columns: Mapping[str, Any]) -> Any:
        from sqlalchemy import case, null

        statement = self._insert_here(table)
        beat, known = statement.excluded, table.c
        is_newer = beat.last_beat_at > known.last_beat_at
        is_open = known.ended_at.is_(None)
        first = case((beat.started_at < known.started_at, beat.started_at), else_=known.started_at)
        changed: dict[str, Any] = {
            "started_at": case((is_newer | is_open, first), else_=known.started_at),
            "last_beat_at": case((is_newer, beat.last_beat_at), else_=known.last_beat_at),
            "ended_at": case((is_newer, null()), else_=known.ended_at),
            "duration_seconds": case((is_newer, null()), else_=known.duration_seconds),
        }
        for name in columns:
            if name not in _OF_OURS:
                changed[name] = case((is_newer, beat[name]), else_=known[name])
        return statement.on_conflict_do_update(index_elements=["id"], set_=changed)

    async def end_silent(self, since: datetime.datetime, most: int) -> list[Session]:
        """End sessions whose last beat was before *since*, the longest silent first.

        Args:
            since: an aware time.
            most: how many at most.

        Returns:
            Those that were ended by this call.
        """
        return await self._database.run(lambda connection: self._end(connection, since, most))

    def _end(self, connection: Connection, since: datetime.datetime, most: int) -> list[Session]:
        from sqlalchemy import extract, func, select, update

        table = self._known(connection)
        known = table.c
        silent = (
            select(known.id)
            .where(known.ended_at.is_(None), known.last_beat_at < since)
            .order_by(known.last_beat_at)
            .limit(most)
        )
        if self._database.dialect == "sqlite":
            # It has one writer at a time; and Python begins no transaction for WITH.
            lasted = (func.julianday(known.last_beat_at) - func.julianday(known.started_at)) * 86400
        else:
            # Looked for once; what another one ends at this moment is passed over.
            silent = select(silent.with_for_update(skip_locked=True).cte("silent").c.id)
            lasted = extract("epoch", known.last_beat_at - known.started_at)
        statement = (
            update(table)
            .where(known.id.in_(silent))
            .values(ended_at=known.last_beat_at, duration_seconds=lasted)
            .returning(known.id, known.started_at, known.ended_at, known.duration_seconds)
        )
        found = connection.execute(statement).all()
        return [
            Session(its_id, _aware(started_at), _aware(ended_at), float(seconds))
            for its_id, started_at, ended_at, seconds in found
        ]


def _aware(time: datetime.datetime) -> datetime.datetime:
    """Return *time* as a time of UTC, as SQLite's are without saying so."""
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
