"""The engine that migrations run on: which driver, and how long its statements may take.

Promises: one connection that is closed after use. A statement that waits for a lock, or runs, for
longer than it may is ended by the database; PostgreSQL also ends, within two seconds, what a
process was doing that was killed. In SQLite each transaction is one from its first statement on,
so that changes to tables are undone with it; foreign keys are not enforced meanwhile, as Alembic's
batch operations need it.

For the command's own process: with an ``env.py`` of the project's the time-outs are set by an event
of all engines, since it makes its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine, create_engine, event

from tonnage.db.drivers import sqlalchemy
from tonnage.db.settings import current
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from tonnage.db.upgrade.places import Place
    from tonnage.db.urls import DatabaseUrl

#: How soon PostgreSQL notices that who asked is gone, and ends the statement.
NOTICE_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a statement may wait for a lock, and how long it may run."""

    lock_seconds: float
    statement_seconds: float


def arguments_for(url: DatabaseUrl, place: Place, timeouts: Timeouts) -> dict[str, Any]:
    """Return the arguments of an engine for *url*, of the kind that *place* can use.

    Raises:
        ConfigError: no driver is installed, or it does not know what the URL says.
    """
    if url.pool.is_pgbouncer:
        raise ConfigError(
            f"{url.shown} is reached through PgBouncer, where nothing can be locked or set for a "
            "migration: give the URL of the database itself, without pgbouncer=true"
        )
    settings = replace(
        current(),
        lock_timeout_seconds=timeouts.lock_seconds,
        statement_timeout_seconds=timeouts.statement_seconds,
    )
    # How long an answer may take is said of requests; a migration has limits of its own.
    url = replace(url, pool=replace(url.pool, socket_timeout_seconds=None))
    return sqlalchemy.arguments(url, settings, 1, is_async=_is_async(url, place))


def _is_async(url: DatabaseUrl, place: Place) -> bool:
    if place.environment is not None:
        # An env.py knows one kind of engines only.
        return "async_engine" in place.environment
    if url.driver is None:
        try:
            sqlalchemy.driver_of(url, is_async=False)
        except ConfigError:
            return True
        return False
    return sqlalchemy.driver_of(url, is_async=True) == url.driver != "psycopg"


def run_on(
    arguments: Mapping[str, Any],
    schema: str | None,
    timeouts: Timeouts,
    function: Callable[[Connection], None],
    *,
    is_looking: bool = False,
) -> None:
    """Call *function* with a connection of an engine that has these *arguments*.

    With *is_looking* SQLite is not locked for writing.
    """
    given = dict(arguments)
    is_sqlite = given["url"].get_backend_name() == "sqlite"
    if is_sqlite:
        # Those of applications have foreign keys enforced.
        del given["pool_events"]

    def prepare(engine: Engine) -> None:
        limit(engine, schema, timeouts)
        if is_sqlite:
            # The driver would begin a transaction only before INSERT and the like: its own way of
            # old, for which SQLAlchemy recommends this.
            event.listen(engine, "connect", _without_own_transactions)
            event.listen(engine, "begin", _begin if is_looking else _begin_at_once)

    if given["url"].get_dialect().is_async:
        import asyncio  # Only here: some megabytes that most do without.

        asyncio.run(_run_async(given, prepare, function))
        return
    engine = create_engine(**given)
    try:
        prepare(engine)
        with engine.connect() as connection:
            function(connection)
    finally:
        engine.dispose()


async def _run_async(
    arguments: dict[str, Any],
    prepare: Callable[[Engine], None],
    function: Callable[[Connection], None],
) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(**arguments)
    try:
        prepare(engine.sync_engine)
        async with engine.connect() as connection:
            await connection.run_sync(function)
    finally:
        await engine.dispose()


def complete(arguments: Mapping[str, Any]) -> None:
    """Have engines that others make for the URL of *arguments* be given the rest of them.

    That is what a URL of SQLAlchemy's cannot say: asyncpg takes no ``sslmode`` there.
    """

    def on_connect(dialect: Any, record: object, words: object, given: dict[str, Any]) -> None:
        url = arguments["url"]
        if dialect.driver != url.get_driver_name():
            return
        _, own = dialect.create_connect_args(url)
        if own.items() <= given.items():
            given.update({**arguments["connect_args"], **given})

    event.listen(Engine, "do_connect", on_connect)


def limit(target: Engine | type[Engine], schema: str | None, timeouts: Timeouts) -> None:
    """Have the connections of *target*, an engine or all engines, keep to *timeouts*."""

    def on_connect(connection: Any, record: object) -> None:
        # The class of the connection, which may be SQLAlchemy's adapter, names the driver.
        kind = f"{type(connection).__module__} {type(connection).__name__}".lower()
        if "sqlite" in kind:
            statements = _sqlite_statements(timeouts)
        elif "mysql" in kind:
            statements = _mysql_statements(timeouts)
        else:
            statements = _postgres_statements(schema, timeouts)
        cursor = connection.cursor()
        try:
            for statement in statements:
                cursor.execute(statement)
        finally:
            cursor.close()
        connection.commit()

    event.listen(target, "connect", on_connect)


def _postgres_statements(schema: str | None, timeouts: Timeouts) -> list[str]:
    found = {
        "lock_timeout": f"{timeouts.lock_seconds * 1000:.0f}ms",
        "statement_timeout": f"{timeouts.statement_seconds * 1000:.0f}ms",
        # Where the server's system has it, and since PostgreSQL 14.
        "client_connection_check_interval": f"{NOTICE_SECONDS}s",
    }
    statements = [
        f"SELECT set_config(name, '{value}', false) FROM pg_settings WHERE name = '{name}'"
        for name, value in found.items()
    ]
    if schema is not None:
        quoted = '"' + schema.replace('"', '""') + '"'
        statements.append(f"SET search_path TO {quoted}")
    return statements


def _mysql_statements(timeouts: Timeouts) -> list[str]:
    seconds = max(1, round(timeouts.lock_seconds))
    return [
        f"SET SESSION lock_wait_timeout = {seconds}",
        f"SET SESSION innodb_lock_wait_timeout = {seconds}",
    ]


def _sqlite_statements(timeouts: Timeouts) -> list[str]:
    return [f"PRAGMA busy_timeout = {timeouts.lock_seconds * 1000:.0f}"]


def _without_own_transactions(connection: Any, record: object) -> None:
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_at_once(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
