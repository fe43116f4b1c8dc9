"""Records into a table of any database that SQLAlchemy knows; SQLite needs no server.

    sink = SqlSink("sqlite:///events.db", "events")
    sink = SqlSink(engine, sessions_table, upsert=["session_id"])

Promises: a batch is stored whole or not at all. With an *id_column*, a record that is there already
is left out; with *upsert*, its row is brought up to date.

One connection (:mod:`tonnage.stores.sinks.database`). Rows are sent by ``executemany``: for many of
them :class:`~tonnage.stores.sinks.postgres.PostgresSink` is the faster way to PostgreSQL. Needs
SQLAlchemy (``tonnage[sql]``): 16 MB in a process that has not loaded it for other reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.sinks.database import Database
from tonnage.stores.sinks.rows import alike, with_ids
from tonnage.stores.sinks.verdict import UNSENDABLE, is_rejected, reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tonnage.stores.sinks.rows import Records
    from tonnage.stores.sinks.sink import Batch


class SqlSink:
    """Inserts batches into a table.

    Args:
        where: a URL as SQLAlchemy has them, such as ``sqlite:///events.db``, or an engine, of
            either kind.
        table: its name, with its schema where it needs one; or a ``Table`` of SQLAlchemy. A table
            of which the name is known is looked at before the first batch.
        id_column: a column with a unique index, by which a record is known: what is there already
            is left out. A record that has no such key gets the id that a durable writer gave it.
        upsert: columns with a unique index together: where a row has the same values there already,
            the record's other values replace those of the row. Of several such records in a batch
            the last is stored.

    Raises:
        ConfigError: SQLAlchemy or a driver is not installed, the URL cannot be read, or what is
            asked for is not known of this kind of database.
    """

    def __init__(
        self,
        where: str | Engine | AsyncEngine,
        table: str | Table,
        *,
        id_column: str | None = None,
        upsert: Sequence[str] | None = None,
    ) -> None:
        self._database = Database(where)
        self._table = table
        self._id_column = id_column
        self._upsert = list(upsert or ())
        if id_column and upsert:
            raise ConfigError("a sink has an id_column or an upsert, not both")
        if (id_column or upsert) and self._database.dialect not in ("sqlite", "postgresql"):
            raise ConfigError(
                f"{self._database.dialect}: id_column and upsert are for SQLite and PostgreSQL"
            )

    def __repr__(self) -> str:
        return f"SqlSink({self._database!r}, {str(self._table)!r})"

    async def write(self, batch: Batch) -> None:
        """Insert all of *batch*, in one transaction.

        Raises:
            RecordsRejectedError: the database cannot take one of them at least.
        """
        records = with_ids(batch, self._id_column)
        if self._upsert:
            try:
                records = self._last_of_each(records)
            except UNSENDABLE as error:
                raise RecordsRejectedError(reason(error)) from error
        try:
            await self._database.run(lambda connection: self._insert(connection, records))
        except Exception as error:
            at_fault = _at_fault(error)
            if at_fault is None:
                raise
            raise RecordsRejectedError(reason(at_fault)) from error

    async def close(self) -> None:
        """Close the connection; an engine of the application's own stays as it is."""
        await self._database.close()

    def _insert(self, connection: Connection, records: Records) -> None:
        table = self._known(connection)
        for those in alike(records):
            keys: Mapping[Any, Any] = those[0]
            for name in keys:
                if not isinstance(name, str) or name not in table.c:
                    raise RecordsRejectedError(f"no column is called {name!r}")
            statement = self._statement(table, keys)
            try:
                connection.execute(statement, list(those))
            except UNSENDABLE as error:
                raise RecordsRejectedError(reason(error)) from error

    def _known(self, connection: Connection) -> Table:
        """Return the table; looked at if only its name is known."""
        from sqlalchemy import MetaData, Table
        from sqlalchemy.exc import NoSuchTableError

        if isinstance(self._table, str):
            schema, name = ([None, *self._table.split(".", 1)])[-2:]
            assert name is not None
            found = Table(name, MetaData(), schema=schema, autoload_with=connection)
            if not found.c:
                # Just being made: what is looked at is not all of one moment.
                raise NoSuchTableError(name)
            self._table = found
        return self._table

    def _statement(self, table: Table, columns: Mapping[str, Any]) -> Any:
        from sqlalchemy import insert

        keys = self._upsert or ([self._id_column] if self._id_column else [])
        if not keys or not all(key in columns for key in keys):
            return insert(table)
        statement: Any = self._insert_here(table)
        changed = {name: statement.excluded[name] for name in columns if name not in keys}
        if not self._upsert or not changed:
            return statement.on_conflict_do_nothing(index_elements=keys)
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)

    def _insert_here(self, table: Table) -> Any:
        """Return an INSERT that knows of conflicts, which each of the two does in its own way."""
        if self._database.dialect == "sqlite":
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    def _last_of_each(self, records: Records) -> Records:
        keys = self._upsert
        # What lacks one of the columns is known from no other.
        last = {
            tuple(record[key] for key in keys) if all(key in record for key in keys)
            else (number,): record
            for number, record in enumerate(records)
        }  # fmt: skip
        # In one order everywhere, lest two batches with the same rows wait for each other.
        return [last[key] for key in sorted(last, key=repr)]


def _at_fault(error: BaseException) -> BaseException | None:
    """Return what says that the records are at fault; None: nothing does."""
    from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

    if not isinstance(error, StatementError) or error.orig is None:
        return None
    told = error.orig
    if not isinstance(error, DBAPIError):
        # A value that SQLAlchemy itself could not make ready.
        return told if isinstance(told, UNSENDABLE) else None
    if error.connection_invalidated:
        return None
    if isinstance(error, (IntegrityError, DataError)) or is_rejected(told):
        return told
    # What drivers say of a value that they cannot send: asyncpg, and sqlite3.
    is_value = type(told.__cause__).__name__ == "DataError"
    return told if is_value or "rror binding parameter" in str(told) else None
