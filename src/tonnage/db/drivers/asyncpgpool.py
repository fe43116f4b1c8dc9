"""What ``asyncpg.create_pool`` is told, for an application that has asyncpg's own pool.

================================  ==============================================================
a URL's parameter                 argument
================================  ==============================================================
``connection_limit``              ``max_size``; ``min_size`` is 0, where the default is 10
``pool_timeout``                  none: ``pool.acquire(timeout=...)``, for ever without it
``max_idle_connection_lifetime``  ``max_inactive_connection_lifetime``; for ever is 0
``max_connection_lifetime``       none: asyncpg knows no lifetime
the others                        as for a connection: :mod:`tonnage.db.drivers.asyncpg`
================================  ==============================================================

Pure. Our own pool has all of it: ``db.async_pool()``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tonnage.db.drivers.asyncpg import connect_arguments
from tonnage.db.drivers.durations import idle_seconds

if TYPE_CHECKING:
    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings


def arguments(url: DatabaseUrl, settings: DatabaseSettings, limit: int) -> dict[str, Any]:
    """Return the arguments of ``asyncpg.create_pool``, the address among them.

    Raises:
        ConfigError: the URL has a parameter that asyncpg does not know.
    """
    idle = idle_seconds(url.pool, settings)
    return {
        **connect_arguments(url, settings),
        "min_size": 0,
        "max_size": limit,
        "max_inactive_connection_lifetime": 0 if math.isinf(idle) else idle,
    }
