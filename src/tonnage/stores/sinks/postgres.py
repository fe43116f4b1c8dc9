"""Records into a table of PostgreSQL, by COPY: as fast as that can be done.

    sink = PostgresSink(os.environ["DATABASE_URL"], "events", id_column="id")

Promises: a batch is stored whole or not at all. With an *id_column*, a record that is there already
is left out, so that what is tried again is not stored twice. The password is in no error, in no log
and in no ``repr``.

One connection, which holds :data:`MOST_STATEMENTS` prepared statements at most. What fits into a
column is the database's judgement. Needs asyncpg (``tonnage[postgres]``).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.sinks.onlyone import OnlyOne, needed
from tonnage.stores.sinks.plain import as_json
from tonnage.stores.sinks.rows import rows_by_columns, with_ids
from tonnage.stores.sinks.verdict import UNSENDABLE, is_rejected, reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tonnage.stores.sinks.rows import Columns, Rows
    from tonnage.stores.sinks.sink import Batch

    Groups = list[tuple[Columns, Rows]]
    Copy = Callable[[Any, int, Columns, Rows], Awaitable[None]]

CONNECT_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 5.0
#: With asyncpg's own 100 a connection takes 300 to 500 KB.
MOST_STATEMENTS: Final = 16


class PostgresSink:
    """Copies batches into a table.

    Args:
        url: ``postgresql://user:password@host/database``.
        table: its name; with its schema where it needs one, as ``"stats.events"``.
        columns: those that are written; a record that lacks one is NULL there, and one with another
            key is rejected. By default each record is written to the columns that it has keys for,
            and the others get their defaults.
        id_column: a column with a unique index, by which a record is known: what is there already
            is left out. A record that has no such key gets the id that a durable writer gave it.

    Raises:
        ConfigError: the URL is not one of PostgreSQL, or asyncpg is not installed.
    """

    def __init__(
        self,
        url: str,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        id_column: str | None = None,
    ) -> None:
        if not url.startswith(("postgresql://", "postgres://")):
            # Not repeated: there may be a password in it.
            raise ConfigError(f"the URL for table {table!r} does not begin with postgresql://")
        self._asyncpg = needed("asyncpg", "postgres")
        self._url = url
        self._schema, self._table = ([None, *table.split(".", 1)])[-2:]
        self._id_column = id_column
        self._columns = None if columns is None else tuple(columns)
        self._connection = OnlyOne(self._connect, _close, _drop)

    def __repr__(self) -> str:
        return f"PostgresSink({self._target})"

    async def write(self, batch: Batch) -> None:
        """Store all of *batch*, in one transaction.

        Raises:
            RecordsRejectedError: the database cannot take one of them at least.
        """
        columns, id_column = self._columns, self._id_column
        if columns and id_column and batch.ids is not None and id_column not in columns:
            columns = (id_column, *columns)
        groups = rows_by_columns(with_ids(batch, id_column), columns)
        async with self._connection.taken() as connection:
            try:
                try:
                    await self._store(connection, groups, self._copy)
                except self._asyncpg.UniqueViolationError:
                    if id_column is None:
                        raise
                    # Seldom: some are there already, most likely from the last time.
                    await self._store(connection, groups, self._copy_new)
            except self._asyncpg.PostgresError as error:
                if is_rejected(error):
                    raise RecordsRejectedError(reason(error)) from error
                raise
            except UNSENDABLE as error:
                # A lost connection can look like that, too.
                if connection.is_closed():
                    raise
                raise RecordsRejectedError(reason(error)) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _connect(self) -> Any:
        connection = await self._asyncpg.connect(
            self._url, timeout=CONNECT_SECONDS, statement_cache_size=MOST_STATEMENTS
        )
        try:
            for name, version in (("json", b""), ("jsonb", b"\x01")):
                await connection.set_type_codec(
                    name,
                    schema="pg_catalog",
                    encoder=partial(_json, version),
                    decoder=bytes,
                    format="binary",
                )
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _store(self, connection: Any, groups: Groups, copy: Copy) -> None:
        if len(groups) == 1 and copy == self._copy:
            # One COPY by itself is whole or not at all.
            await copy(connection, 0, *groups[0])
            return
        async with connection.transaction():
            for number, (columns, rows) in enumerate(groups):
                await copy(connection, number, columns, rows)

    async def _copy(self, connection: Any, number: int, columns: Columns, rows: Rows) -> None:
        try:
            await connection.copy_records_to_table(
                self._table, schema_name=self._schema, columns=columns, records=rows
            )
        except self._asyncpg.InvalidColumnReferenceError as error:
            # What COPY says of a column that the database makes itself.
            raise RecordsRejectedError(reason(error)) from error

    async def _copy_new(self, connection: Any, number: int, columns: Columns, rows: Rows) -> None:
        """Copy those that are not there yet, by way of a table that is gone with the commit."""
        if self._id_column not in columns:
            await self._copy(connection, number, columns, rows)
            return
        target, names = self._target, ", ".join(map(_quoted, columns))
        staged = f"tonnage_staged_{number}"
        # It has these columns alone, and none of their constraints.
        await connection.execute(
            f"CREATE TEMP TABLE {staged} ON COMMIT DROP AS"
            f" SELECT {names} FROM {target} WITH NO DATA"
        )
        await connection.copy_records_to_table(
            staged, schema_name="pg_temp", columns=columns, records=rows
        )
        await connection.execute(
            f"INSERT INTO {target} ({names}) SELECT {names} FROM pg_temp.{staged}"
            f" ON CONFLICT ({_quoted(self._id_column)}) DO NOTHING"
        )

    @property
    def _target(self) -> str:
        return ".".join(_quoted(part) for part in (self._schema, self._table) if part)


async def _close(connection: Any) -> None:
    await connection.close(timeout=CLOSE_SECONDS)


async def _drop(connection: Any) -> None:
    connection.terminate()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _json(version: bytes, value: object) -> bytes:
    """Return *value* as its column wants it; a str is JSON already, as drivers have it."""
    return version + (value.encode() if isinstance(value, str) else as_json(value))
