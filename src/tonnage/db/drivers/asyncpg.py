"""What ``asyncpg.connect`` is told, by our pool and by SQLAlchemy.

===============================  ===============================================================
a URL's parameter                asyncpg's argument
===============================  ===============================================================
``connect_timeout``              ``timeout``
``socket_timeout``               ``command_timeout``; else 5 s more than a statement may run
``statement_cache_size``         ``statement_cache_size``; its own is 100
``pgbouncer=true``               ``statement_cache_size=0``, nothing set in the server
``schema``                       ``server_settings["options"]``, with the time-outs
libpq's names                    ``dsn``, as far as asyncpg knows them
===============================  ===============================================================

What is said of a pool is for the pool: asyncpg's own has no end of waiting for a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.db.drivers.durations import answer_seconds
from tonnage.db.drivers.postgresql import server_options
from tonnage.db.parameters import names
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

#: Those of libpq's that asyncpg takes from a URL; any other it would send to the server as a
#: setting, which refuses the connection. Not ``service``: of one that is in no file it would say
#: nothing, and connect to whatever else is said.
KNOWN: Final = names(
    """
    application_name dbname gsslib host krbsrvname options passfile password port sslcert
    sslcrl sslkey sslmode sslnegotiation sslpassword sslrootcert ssl_max_protocol_version
    ssl_min_protocol_version target_session_attrs user
    """
)


def connect_arguments(url: DatabaseUrl, settings: DatabaseSettings) -> dict[str, Any]:
    """Return the arguments of ``asyncpg.connect``, the address among them.

    Raises:
        ConfigError: the URL has a parameter that asyncpg does not know.
    """
    unknown = sorted(url.options.keys() - KNOWN)
    if unknown:
        raise ConfigError(
            f"asyncpg does not know {', '.join(unknown)}, which the URL of the database has: leave"
            " it out, or use psycopg: db.pool(), or postgresql+psycopg:// for an engine"
        )
    found: dict[str, Any] = {
        "dsn": url.address,
        "timeout": url.pool.connect_timeout_seconds,
        "command_timeout": answer_seconds(url.pool, settings),
        "statement_cache_size": url.pool.statement_cache_size,
    }
    options = server_options(url, settings)
    if options:
        found["server_settings"] = {"options": options}
    return found
