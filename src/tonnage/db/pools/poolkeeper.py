"""What a pool of plain connections knows beside them: its limit, its database's state, its count.

The same as for engines (:mod:`tonnage.db.pooling.keeper`), told by the pool itself instead of
SQLAlchemy.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tonnage.db.pooling import serverlimits
from tonnage.db.pooling.away import is_away, lost
from tonnage.db.pooling.counting import enter
from tonnage.db.pooling.keeper import Keeper
from tonnage.errors import DatabaseError
from tonnage.governor.consumers import register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tonnage.db.pooling.counting import PoolStatistics
    from tonnage.db.urls import DatabaseUrl
    from tonnage.settings import DatabaseSettings

#: What says how many connections the server has, and allows.
STATEMENT = serverlimits.statement("postgresql") or ""
#: Classes of SQLSTATE: the connection failed, or an operator ended it.
_LOST_CLASSES = ("08", "57P")


#: Lifetimes are this part shorter by chance, lest all connections of all workers end together.
JITTER_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Life:
    """When a connection was opened, when it is to be closed at the latest, and whose it is."""

    begun_seconds: float = 0.0
    ends_seconds: float = float("inf")
    #: The number of the process that has opened it.
    process: int = 0


class PoolKeeper(Keeper):
    """Limit, state and counts of one pool of a driver's connections.

    Args:
        kind: what the connections go through, for statistics.
        name: of the pool.
        url: where the database is.
        settings: what the options say.
        is_async: whether the pool is for an event loop.
    """

    def __init__(
        self, kind: str, name: str, url: DatabaseUrl, settings: DatabaseSettings, *, is_async: bool
    ) -> None:
        super().__init__(name, url, settings, is_async=is_async)
        self._kind = kind
        self._expired_seconds = float("-inf")
        enter(self, url.shown)
        register(self)

    def statistics(self) -> PoolStatistics:
        """Return the pool's state and counts."""
        return replace(super().statistics(), kind=self._kind)

    def new_life(self) -> Life:
        """Return the life of a connection that is opened now."""
        now = time.monotonic()
        part = 1.0 - random.random() * JITTER_SHARE
        return Life(now, now + self.lifetime_seconds * part, os.getpid())

    def is_over(self, life: Life) -> bool:
        """Return whether *life* is over."""
        return life.begun_seconds <= self._expired_seconds or life.ends_seconds <= time.monotonic()

    def expire(self) -> None:
        """Have the life be over of every connection there is."""
        self._expired_seconds = time.monotonic()
        self.ended()

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Let a connection be opened inside, or not.

        Raises:
            DatabaseAwayError: the database is away, or it is found to be.
        """
        self.door.check()
        try:
            yield
        except Exception as error:
            if is_away(error, self.dialect):
                raise self.refusal(error) from error
            self.door.gave_up()
            raise
        except BaseException:  # cancelled
            self.door.gave_up()
            raise
        self.door.came()

    @contextmanager
    def using(self, is_ended: Callable[[Exception], bool]) -> Iterator[None]:
        """Have an error that has lost a connection be what it is.

        Args:
            is_ended: whether the connection is not to be used after an error.

        Raises:
            DatabaseAwayError: the connection was lost.
        """
        try:
            yield
        except DatabaseError:
            raise
        except Exception as error:
            state = str(getattr(error, "sqlstate", None) or "")
            if not state.startswith(_LOST_CLASSES) and not is_ended(error):
                raise
            self.lose()
            raise lost(self.name) from error
