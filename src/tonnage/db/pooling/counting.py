"""How many connections the pools of this process have: for metrics, logs and the originals' pages.

    statistics()           # {"database": PoolStatistics(limit=5, open=3, in_use=1, ...)}
    db_connections()       # one number: the originals' dbConnections

Promises: reading costs no I/O. What the server said of itself is as old as the last time that a
pool asked it. A pool is held weakly: one that is gone is not shown any more.
Does not count what other processes have, except as far as the server said it.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Final, Protocol

MOST_POOLS: Final = 256


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """How it stands with one pool; totals are since its process began to use it."""

    name: str
    #: What the connections go through, such as ``sqlalchemy`` or ``asyncpg``.
    kind: str
    #: As many connections it may have open in this process.
    limit: int
    open: int
    in_use: int
    idle: int
    #: Who waits for a connection now.
    waiting: int
    opened_total: int
    closed_total: int
    #: Who has waited in vain, or was turned away since too many waited.
    timed_out_total: int
    #: Connections to the whole database, of everybody, as the server said last; None: it cannot.
    server_connections: int | None = None


class Counted(Protocol):
    """A pool that can be asked."""

    @property
    def name(self) -> str:
        """What it is called."""

    def statistics(self) -> PoolStatistics:
        """Return the pool's state and counts; without I/O, from any thread."""


_lock = threading.Lock()
# At most MOST_POOLS; each with the server it belongs to.
_entered: list[tuple[weakref.ref[Counted], str]] = []


def enter(pool: Counted, server: str) -> None:
    """Have *pool* be shown, as long as it lives.

    Args:
        pool: held weakly.
        server: which database it is of, without a password; pools of one are counted once where
            that has said how many connections there are.
    """
    with _lock:
        _entered[:] = [each for each in _entered if each[0]() not in (None, pool)][
            -MOST_POOLS + 1 :
        ]
        _entered.append((weakref.ref(pool), server))


def statistics() -> dict[str, PoolStatistics]:
    """Return state and counts of every pool of this process, by name (``name-2`` for a second)."""
    found: dict[str, PoolStatistics] = {}
    for pool, _ in _living():
        number, name = 2, pool.name
        while name in found:
            name, number = f"{pool.name}-{number}", number + 1
        found[name] = pool.statistics()
    return found


def db_connections() -> int:
    """Return how many connections there are to the databases of this process's pools.

    Everybody's, where the database can tell how many it has; else those of this process alone.
    """
    own, told = connections()
    return own + sum(told.values())


def connections() -> tuple[int, dict[str, int]]:
    """Return how many connections the databases have: of this process, and of everybody by server.

    This process's are counted only where the database cannot tell everybody's.
    """
    told: dict[str, int] = {}
    own = 0
    for pool, server in _living():
        each = pool.statistics()
        if each.server_connections is None:
            own += each.open
        else:
            told[server] = max(told.get(server, 0), each.server_connections)
    return own, told


def _living() -> list[tuple[Counted, str]]:
    with _lock:
        entered = list(_entered)
    return [(pool, server) for reference, server in entered if (pool := reference()) is not None]
