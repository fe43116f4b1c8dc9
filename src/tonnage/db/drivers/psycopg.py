"""What ``psycopg.connect`` is told, by our pool and by SQLAlchemy.

===============================  ===============================================================
a URL's parameter                psycopg's argument
===============================  ===============================================================
``connect_timeout``              ``connect_timeout``: whole seconds, 2 at least
``socket_timeout``               the server's ``statement_timeout``; libpq has no other
``statement_cache_size``         ``prepared_max`` of each connection: :func:`bound_statements`
``pgbouncer=true``               ``prepare_threshold=None``, nothing set in the server
``schema``                       ``options``, with the time-outs
libpq's names                    ``conninfo``
===============================  ===============================================================

A server that is gone without a word is found out by TCP's keep-alive, after a minute.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from tonnage.db.drivers.postgresql import server_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

#: libpq makes 2 of 1.
LEAST_CONNECT_SECONDS: Final = 2
_KEEP_ALIVE: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def connect_arguments(url: DatabaseUrl, settings: DatabaseSettings) -> dict[str, Any]:
    """Return the arguments of ``psycopg.connect``, the address among them."""
    found: dict[str, Any] = {
        "conninfo": url.address,
        "connect_timeout": max(LEAST_CONNECT_SECONDS, math.ceil(url.pool.connect_timeout_seconds)),
        **{name: value for name, value in _KEEP_ALIVE.items() if name not in url.options},
    }
    if url.pool.statement_cache_size == 0:
        found["prepare_threshold"] = None
    options = server_options(url, settings)
    if options:
        found["options"] = options
    return found


def bound_statements(url: DatabaseUrl) -> Callable[[Any], None]:
    """Return what bounds the prepared statements of a new connection, of either kind."""
    most = url.pool.statement_cache_size

    def configure(connection: Any) -> None:
        # psycopg keeps 100; it takes no argument for it.
        connection.prepared_max = most

    return configure
