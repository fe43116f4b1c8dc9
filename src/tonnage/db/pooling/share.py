"""Who shares the connections that this process may have: the pools whose URL names no limit.

    member = join("database", url.pool.connection_limit)   # as a pool is made, also at import
    member.limit()                                         # at its first connection
    member.settle(found)                                   # and when its server has said its limits

Promises: the limit of a URL is kept as it is. The others together get no more than
:func:`tonnage.db.settings.share` says, but one each at least, with a warning where that is more.
Pools at one server are measured together against what that allows
(:mod:`tonnage.db.pooling.serverlimits`). What a pool has been told stays so; one that is made later
gets of what is left. Pools that are not used yet count too. A forked child divides anew, since only
a worker knows its share. Opens nothing; bounded by the pools there are.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from tonnage.db.pooling.serverlimits import Others, allowed
from tonnage.db.settings import current, share, workers

if TYPE_CHECKING:
    from tonnage.db.pooling.serverlimits import Place, ServerLimits

_members: weakref.WeakSet[Member] = weakref.WeakSet()
# Reentrant: while it is held, the collector may end a cursor whose pool asks for its limit.
_lock = threading.RLock()


class Member:
    """A pool's part; it ends with the pool, which alone holds it.

    Args:
        pool_name: for logs.
        limit: the limit of its own, if it has one.
        place: where its database is; None where its server is not asked.
    """

    def __init__(self, pool_name: str, limit: int | None, place: Place | None) -> None:
        self.pool_name = pool_name
        self.own_limit = limit
        self.place = place
        self._told: int | None = None
        # What its server leaves of that.
        self._settled: int | None = None

    def limit(self) -> int:
        """Return how many connections the pool may have; at least 1, and the same ever after."""
        if self.own_limit is not None:
            return self.own_limit
        with _lock:
            if self._told is None:
                self._told = self.planned()
            return self._told

    def planned(self) -> int:
        """Return what :meth:`limit` would say now; that is not decided by it."""
        known = self._settled or self.own_limit or self._told
        if known is not None:
            return known
        with _lock:
            others = [one for one in _sharing() if one is not self]
            told = sum(one._told for one in others if one._told is not None)
            undecided = 1 + sum(one._told is None for one in others)
            return max(1, (share() - told) // undecided)

    def settle(self, found: ServerLimits | None) -> tuple[int, list[str]]:
        """Return :meth:`limit` as far as its server allows it, and what to warn of.

        Args:
            found: what the server says; None: nothing.
        """
        with _lock:
            _members.add(self)  # it may have left
            limit, warnings = self.limit(), _overdrawn()
            if found is not None:
                limit, more = allowed(found, limit, workers(), self._others(found))
                warnings += more
            self._settled = limit
            return limit, warnings

    def _others(self, found: ServerLimits) -> Others:
        """Return the other pools to which the lowest of the server's limits applies."""
        place = self.place
        if place is None:
            return Others()
        here = [one for one in _members if one is not self and one.place is not None]
        near = [one for one in here if one.place is not None and one.place.server == place.server]
        if found.is_personal:
            near = [one for one in near if one.place == place]
        return Others(
            settled=tuple(one._settled for one in near if one._settled is not None),
            wanted=tuple(one.planned() for one in near if one._settled is None),
        )

    def leave(self) -> None:
        """Give the part back: the pool is closed, and decides anew where it is used again."""
        with _lock:
            _members.discard(self)
            self._told = self._settled = None

    def begin_anew(self) -> None:
        """Forget what was told; called in a forked child."""
        self._told = self._settled = None


def join(pool_name: str, limit: int | None = None, place: Place | None = None) -> Member:
    """Return the part of a pool that is being made; keep it as long as the pool.

    Args:
        pool_name: for logs.
        limit: what its URL says; None to share.
        place: where its database is; None where its server is not asked.
    """
    member = Member(pool_name, limit, place)
    with _lock:
        _members.add(member)
    return member


def members() -> list[Member]:
    """Return all there are, by name."""
    with _lock:
        return sorted(_members, key=lambda member: member.pool_name)


def _sharing() -> list[Member]:
    return [one for one in _members if one.own_limit is None]


def _overdrawn() -> list[str]:
    """Return the warning that one connection for each pool is more than was planned; once."""
    global _is_overdrawn_told
    pools, number, wished = len(_sharing()), workers(), current().database_connections
    planned, budget = "what is planned for them", share() * number
    if wished is not None:
        planned, budget = f"--database-connections {wished}", wished
    if _is_overdrawn_told or pools * number <= budget:
        return []
    _is_overdrawn_told = True
    return [
        f"too many pools: each needs one connection at least, and {pools} pools in {number} workers"
        f" may open {pools * number}, which is more than {planned}: have fewer pools or workers, or"
        " allow more"
    ]


_is_overdrawn_told = False


def _begin_anew() -> None:
    global _lock, _is_overdrawn_told  # another thread of the parent may have held it
    _lock = threading.RLock()
    _is_overdrawn_told = False
    for member in list(_members):
        member.begin_anew()


os.register_at_fork(after_in_child=_begin_anew)
