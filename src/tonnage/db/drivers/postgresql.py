"""What a PostgreSQL server is told when a connection begins, by whichever driver.

    -c statement_timeout=30000 -c lock_timeout=10000 -c search_path="shop"

They are sent as libpq's ``options``, before those that the URL has itself, which so have the last
word. PgBouncer takes no such options, and what one client sets another would get; so with
``pgbouncer=true`` nothing is set, and time-outs are the driver's alone.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.db.drivers.durations import idle_seconds, milliseconds, statement_seconds
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

#: The schema that everybody has without saying so; Prisma's templates say it all the same.
_USUAL_SCHEMA = "public"


def server_options(url: DatabaseUrl, settings: DatabaseSettings) -> str:
    """Return ``options`` for the server; empty for none.

    Raises:
        ConfigError: a schema is wanted where it cannot be set.
    """
    own = url.options.get("options", "")
    if url.pool.is_pgbouncer:
        if url.pool.schema not in (None, _USUAL_SCHEMA):
            raise ConfigError(
                "in the URL of a database, schema and pgbouncer=true exclude one another: have the"
                " server set it, as ALTER ROLE ... SET search_path"
            )
        return own
    said = {
        # Who it is, in pg_stat_activity; a name in the URL comes after this one.
        "application_name": "tonnage",
        "statement_timeout": str(milliseconds(statement_seconds(url.pool, settings))),
        "lock_timeout": str(milliseconds(settings.lock_timeout_seconds)),
        # A transaction that nobody goes on with holds its locks, and old rows from being removed.
        "idle_in_transaction_session_timeout": str(milliseconds(idle_seconds(url.pool, settings))),
    }
    if url.pool.schema is not None:
        said["search_path"] = _escaped(f'"{url.pool.schema.replace(chr(34), chr(34) * 2)}"')
    ours = " ".join(f"-c {name}={value}" for name, value in said.items())
    return f"{ours} {own}".strip()


def _escaped(value: str) -> str:
    """Return *value* as one word of ``options``."""
    return "".join(f"\\{each}" if each.isspace() or each == "\\" else each for each in value)
