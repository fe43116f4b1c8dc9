"""Who shares the connections that this process may have: the pools whose URL names no limit.

    member = join("database", url.pool.connection_limit)   # as a pool is made, also at import
    member.limit()                                         # at its first connection

Promises: the limit of a URL is kept as it is. The others together get no more than
:func:`tonnage.db.settings.share` says, but one each at least. What a pool has been told stays so;
one that is made later gets of what is left. A forked child divides anew, since only a worker knows
its share. Opens nothing; bounded by the pools there are.
"""

from __future__ import annotations

import os
import threading
import weakref

from tonnage.db.settings import share

_members: weakref.WeakSet[Member] = weakref.WeakSet()
# Reentrant: while it is held, the collector may end a cursor whose pool asks for its limit.
_lock = threading.RLock()


class Member:
    """A pool's part; it ends with the pool, which alone holds it.

    Args:
        pool_name: for logs.
        limit: the limit of its own, if it has one.
    """

    def __init__(self, pool_name: str, limit: int | None) -> None:
        self.pool_name = pool_name
        self.own_limit = limit
        self._told: int | None = None

    def limit(self) -> int:
        """Return how many connections the pool may have; at least 1, and the same ever after."""
        if self.own_limit is not None:
            return self.own_limit
        with _lock:
            if self._told is None:
                others = [one for one in _members if one.own_limit is None and one is not self]
                told = sum(one._told for one in others if one._told is not None)
                undecided = 1 + sum(one._told is None for one in others)
                self._told = max(1, (share() - told) // undecided)
            return self._told

    def leave(self) -> None:
        """Give the part back: the pool is closed."""
        with _lock:
            _members.discard(self)

    def begin_anew(self) -> None:
        """Forget what was told; called in a forked child."""
        self._told = None


def join(pool_name: str, limit: int | None = None) -> Member:
    """Return the part of a pool that is being made; keep it as long as the pool.

    Args:
        pool_name: for logs.
        limit: what its URL says; None to share.
    """
    member = Member(pool_name, limit)
    with _lock:
        _members.add(member)
    return member


def members() -> list[Member]:
    """Return all there are, by name."""
    with _lock:
        return sorted(_members, key=lambda member: member.pool_name)


def _begin_anew() -> None:
    global _lock  # another thread of the parent may have held it
    _lock = threading.RLock()
    for member in list(_members):
        member.begin_anew()


os.register_at_fork(after_in_child=_begin_anew)
