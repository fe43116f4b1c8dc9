"""What ``pymongo.AsyncMongoClient`` is told.

===============================  ================================================================
a URL's parameter                PyMongo's argument
===============================  ================================================================
``connection_limit``,            ``maxPoolSize``; 0 would be without a limit, and is refused
``maxPoolSize``
``pool_timeout``,                ``waitQueueTimeoutMS``; for ever is to leave it out
``waitQueueTimeoutMS``
``connect_timeout``,             ``connectTimeoutMS``, and ``serverSelectionTimeoutMS``, which is
``connectTimeoutMS``             30 s else: so long would a request wait for a server that is gone
``socket_timeout``,              ``socketTimeoutMS``; for ever is to leave it out; without it 5 s
``socketTimeoutMS``              more than a statement may run
``max_idle_connection_lifetime`` ``maxIdleTimeMS``; for ever is to leave it out
``maxIdleTimeMS``
``statement_cache_size``,        none: nothing is kept prepared, and PyMongo knows no lifetime
``max_connection_lifetime``
MongoDB's names                  ``host``, with the address; they have the last word
===============================  ================================================================

No duration is more than 11 days, which is the most that PyMongo takes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from tonnage.db.drivers import durations
from tonnage.db.drivers.durations import answer_seconds, idle_seconds

if TYPE_CHECKING:
    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

_MOST_MILLISECONDS: Final = 10**9 - 1


def arguments(url: DatabaseUrl, settings: DatabaseSettings, limit: int) -> dict[str, Any]:
    """Return the arguments of ``pymongo.AsyncMongoClient``, the address among them."""
    connecting = _milliseconds(url.pool.connect_timeout_seconds)
    found: dict[str, Any] = {
        "host": url.address,
        "maxPoolSize": limit,
        "connectTimeoutMS": connecting,
    }
    if url.pool.socket_timeout_seconds is None or not math.isinf(url.pool.socket_timeout_seconds):
        found["socketTimeoutMS"] = _milliseconds(answer_seconds(url.pool, settings))
    # An argument would win against the address.
    if "serverselectiontimeoutms" not in {name.lower() for name in url.options}:
        found["serverSelectionTimeoutMS"] = connecting
    if url.pool.pool_timeout_seconds is not None:
        found["waitQueueTimeoutMS"] = _milliseconds(url.pool.pool_timeout_seconds)
    idle = idle_seconds(url.pool, settings)
    if not math.isinf(idle):
        found["maxIdleTimeMS"] = _milliseconds(idle)
    return found


def _milliseconds(seconds: float) -> int:
    return min(durations.milliseconds(seconds), _MOST_MILLISECONDS)
