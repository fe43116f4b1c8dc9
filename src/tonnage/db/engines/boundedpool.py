"""SQLAlchemy's pool with bounds, for threads; for event loops: :mod:`tonnage.db.engines.asyncpool`.

Promises: never more connections than the limit, those being opened and closed among them, and no
overflow. Who waits for one is served in turn, and waits a bounded time among a bounded number
(:class:`~tonnage.errors.PoolBusyError`); while the database is away nobody waits
(:mod:`tonnage.db.pooling.away`). A connection that rested, or that was there when another was lost,
is asked whether it lives before it is handed out; one that does not is replaced. It is closed when
it has rested or lived too long. Nothing is opened before it is needed; in a forked child the
parent's connections are left alone, also those that were in use, and it begins anew.

Most of it is what all pools have in common: :mod:`tonnage.db.pooling.kept`. What an engine's pools
share, such as their limit, is in :mod:`tonnage.db.pooling.keeper`. Uses the methods that SQLAlchemy
has its own pools implement.
"""

from __future__ import annotations

import logging
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy.pool import ConnectionPoolEntry, Pool

from tonnage.db.engines.entries import may_be_dead, taken_from_child
from tonnage.db.engines.events import asked
from tonnage.db.pooling.kept import BlockingPool
from tonnage.db.pooling.upkeep import InThreads

if TYPE_CHECKING:
    from tonnage.db.pooling.keeper import Keeper, Life
    from tonnage.db.pooling.serverlimits import ServerLimits
    from tonnage.db.pooling.upkeep import Home

#: A connection that was used so recently is taken to be alive: asking costs up to three answers of
#: the server.
SURE_SECONDS: Final = 1.0
# Where an entry keeps its life; SQLAlchemy empties that when it connects anew.
_LIFE: Final = "tonnage_life"

Entry = ConnectionPoolEntry


class BoundedPool(BlockingPool[Entry], Pool):
    """The connections of one engine; this one for threads.

    Args:
        creator: what opens a connection.
        keeper: what the engine's pools have in common.
        given: as for SQLAlchemy's :class:`~sqlalchemy.pool.Pool`.
    """

    _home: Home | None = InThreads()

    def __init__(self, creator: Any, keeper: Keeper, **given: Any) -> None:
        Pool.__init__(self, creator, **given)
        if not self.echo:
            # What SQLAlchemy says of its own pools is to be had in the same way.
            self.logger = logging.getLogger("sqlalchemy.pool.tonnage")
        self.is_closed = False
        BlockingPool.__init__(self, keeper)

    def recreate(self) -> BoundedPool:
        """Return another one like it; the connections of this one are closed when they come back.

        They count for no limit any more, as is SQLAlchemy's custom.
        """
        return type(self)(
            self._creator,
            self._keeper,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            dialect=self._dialect,
            _dispatch=self.dispatch,
        )

    def dispose(self) -> None:
        """Close those that rest now, and the others when they come back."""
        self.is_closed = True
        self._keeper.ended()
        self.close_those(self.slots.take_out())

    def status(self) -> str:
        """Return one line for SQLAlchemy's log."""
        slots = self.slots
        return f"{slots.in_use} in use, {slots.idle} idle, {slots.waiting} waiting"

    def begin_anew(self) -> None:
        """Forget what there was: it is the parent's; called in a forked child."""
        self._parents += map(taken_from_child, self._entries)
        super().begin_anew()

    # As SQLAlchemy calls them.

    def _do_get(self) -> Entry:
        entry = self._take(self._keeper.wait_seconds)
        self._entries.add(entry)
        return entry

    def _do_return_conn(self, record: Entry) -> None:
        if record not in self._entries:
            return  # of a fork's parent, or of an event loop that has ended: its place was there
        if record.dbapi_connection is None:
            self.slots.leave(None, time.monotonic())
        elif self.is_closed:
            self.close_those([record])
        else:
            self._rest(record)

    # As the base wants it.

    def _begin(self) -> None:
        super()._begin()
        # Those there are, with those in use; as many as the limit.
        self._entries: weakref.WeakSet[Entry] = weakref.WeakSet()

    def _life(self, connection: Entry) -> Life:
        life: Life | None = connection.info.get(_LIFE)
        if life is None:
            life = connection.info[_LIFE] = self._keeper.new_life()
        return life

    def _is_over(self, connection: Entry) -> bool:
        return self.is_closed or super()._is_over(connection)

    def _is_living(self, connection: Entry, since_seconds: float) -> bool:
        if self._is_over(connection):
            return False
        is_sure = (
            time.monotonic() - since_seconds < SURE_SECONDS
            and since_seconds > self._keeper.lost_seconds
        ) and not may_be_dead(connection)
        if is_sure or self._answers(connection):
            return True
        self._keeper.lose()
        return False

    def _open(self) -> Entry:
        return self._create_connection()

    def _close(self, connection: Entry) -> None:
        # As close(), but for a server that does not answer any more: then not for long.
        connection.invalidate()

    def _told(self, connection: Entry) -> ServerLimits | None:
        try:
            return asked(connection.dbapi_connection, self._keeper.dialect)
        except Exception as error:
            if not self._answers(connection):
                raise
            self._keeper.not_counted(error)
            return None

    # Inside.

    def _answers(self, entry: Entry) -> bool:
        try:
            self._ping(entry.dbapi_connection)
        except Exception:  # noqa: BLE001  (whatever it is: another one is opened)
            return False
        except BaseException:  # cancelled while it was asked
            entry.invalidate()
            raise
        return True

    def _ping(self, connection: Any) -> None:
        cast("Any", self._dialect).do_ping(connection)
