"""What psycopg's connections are told, by our pool and by SQLAlchemy.

===============================  ===============================================================
a URL's parameter                psycopg's argument
===============================  ===============================================================
``connect_timeout``              ``connect_timeout``: whole seconds, 2 at least
``socket_timeout``               ``tcp_user_timeout``, and a wait of ours: :func:`configured`;
                                 else 5 s more than a statement may run
``statement_cache_size``         ``prepared_max`` of each connection: :func:`configured`
``pgbouncer=true``               ``prepare_threshold=None``, nothing set in the server
``schema``                       ``options``, with the time-outs
libpq's names                    ``conninfo``
===============================  ===============================================================

Promises: a connection whose server says nothing for ``socket_timeout`` while it owes an answer is
ended, of either kind, in threads and in event loops. psycopg itself has no end of waiting; it looks
up ten times a second, and so does this. While nothing is owed, as after LISTEN, silence is no
fault. A network that is gone is found out by TCP in the same time, or by its keep-alive in a minute
where nobody asks.
"""

from __future__ import annotations

import math
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from tonnage.db.drivers.durations import answer_seconds, milliseconds
from tonnage.db.drivers.postgresql import server_options

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

#: libpq makes 2 of 1.
LEAST_CONNECT_SECONDS: Final = 2
_KEEP_ALIVE: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def connect_arguments(url: DatabaseUrl, settings: DatabaseSettings) -> dict[str, Any]:
    """Return the arguments of ``psycopg.connect``, the address among them."""
    tcp = {**_KEEP_ALIVE, "tcp_user_timeout": milliseconds(answer_seconds(url.pool, settings))}
    found: dict[str, Any] = {
        "conninfo": url.address,
        "connect_timeout": max(LEAST_CONNECT_SECONDS, math.ceil(url.pool.connect_timeout_seconds)),
        **{name: value for name, value in tcp.items() if name not in url.options},
    }
    if url.pool.statement_cache_size == 0:
        found["prepare_threshold"] = None
    options = server_options(url, settings)
    if options:
        found["options"] = options
    return found


def configured(url: DatabaseUrl, settings: DatabaseSettings) -> Callable[[Any], None]:
    """Return what sets up a new connection, of either kind, where psycopg takes no argument."""
    most = url.pool.statement_cache_size
    seconds = answer_seconds(url.pool, settings)

    def configure(connection: Any) -> None:
        # psycopg keeps 100.
        connection.prepared_max = most
        connection.wait = _impatient(connection, seconds)

    return configure


def _impatient(connection: Any, seconds: float) -> Callable[..., Any]:
    """Return the ``wait`` of *connection*, with an end; all that psycopg asks goes through it."""
    wait = type(connection).wait
    # Else only the collector would end the connection.
    reference = weakref.ref(connection)

    def waiting(steps: Generator[Any, Any, Any], *given: Any, **named: Any) -> Any:
        kept = reference()
        return wait(kept, _until_silent(steps, kept, seconds), *given, **named)

    return waiting


def _until_silent(
    steps: Generator[Any, Any, Any], connection: Any, seconds: float
) -> Generator[Any, Any, Any]:
    """Go on with *steps* of psycopg's, unless the server is silent for so long."""
    try:
        wanted = next(steps)
        end = time.monotonic() + seconds
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= end:
                _end_if_owed(connection, seconds)
            wanted = steps.send(ready)
            if ready:
                end = time.monotonic() + seconds
    except StopIteration as ended:
        return ended.value


def _end_if_owed(connection: Any, seconds: float) -> None:
    """End *connection* where an answer is owed.

    Raises:
        ConnectionFailure: that was so.
    """
    from psycopg.errors import ConnectionFailure
    from psycopg.pq import TransactionStatus

    if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
        connection.pgconn.finish()
        raise ConnectionFailure(f"the server has not answered for {seconds:g} s")
