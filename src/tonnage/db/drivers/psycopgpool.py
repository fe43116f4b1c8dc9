"""What ``psycopg_pool.ConnectionPool`` is told, for an application that has psycopg's own pool.

================================  ==============================================================
a URL's parameter                 argument
================================  ==============================================================
``connection_limit``              ``max_size``; ``min_size`` is 0, where the default is 4
``pool_timeout``                  ``timeout``; for ever is 24 days, where 0 would be at once
``max_idle_connection_lifetime``  ``max_idle``; for ever is 24 days
``max_connection_lifetime``       ``max_lifetime``; for ever is 24 days
the others                        ``kwargs`` and ``configure``, as for a connection:
                                  :mod:`tonnage.db.drivers.psycopg`
================================  ==============================================================

``max_waiting`` is :data:`MOST_WAITING`, where the default is without end. ``open`` is False, since
the pool's threads would not live on in a forked worker: open it there, as ``with`` does.

Pure. For threads; an ``AsyncConnectionPool`` wants ``configure`` to be asynchronous. Our own pool
has all of it, and asks connections that rested whether they live: ``db.pool()``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from tonnage.db.drivers.durations import finite, idle_seconds, lifetime_seconds
from tonnage.db.drivers.psycopg import configured, connect_arguments

if TYPE_CHECKING:
    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

#: Who may wait for a connection, as with our own pools.
MOST_WAITING: Final = 500


def arguments(url: DatabaseUrl, settings: DatabaseSettings, limit: int) -> dict[str, Any]:
    """Return the arguments of ``psycopg_pool.ConnectionPool``, the address among them."""
    connecting = connect_arguments(url, settings)
    waiting = url.pool.pool_timeout_seconds
    return {
        "conninfo": connecting.pop("conninfo"),
        "kwargs": connecting,
        "configure": configured(url, settings),
        "min_size": 0,
        "max_size": limit,
        "timeout": finite(math.inf if waiting is None else waiting),
        "max_waiting": MOST_WAITING,
        "max_idle": finite(idle_seconds(url.pool, settings)),
        "max_lifetime": finite(lifetime_seconds(url.pool, settings)),
        "open": False,
    }
