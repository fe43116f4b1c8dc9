"""SQLAlchemy's pool with bounds, for threads; for event loops: :mod:`tonnage.db.engines.asyncpool`.

Promises: never more connections than the limit, those being opened and closed among them, and no
overflow. Who waits for one is served in turn, and waits a bounded time among a bounded number
(:class:`~tonnage.errors.PoolBusyError`); while the database is away nobody waits
(:mod:`tonnage.db.pooling.away`). A connection that rested, or that was there when another was lost,
is asked whether it lives before it is handed out; one that does not is replaced. It is closed when
it has rested or lived too long. Nothing is opened before it is needed; in a forked child the
parent's connections are left alone, also those that were in use, and it begins anew.

What an engine's pools have in common, such as their limit, is in :mod:`tonnage.db.pooling.keeper`.
Uses the methods that SQLAlchemy has its own pools implement.
"""

from __future__ import annotations

import logging
import random
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy.pool import ConnectionPoolEntry, Pool

from tonnage.db.engines.entries import may_be_dead, taken_from_child
from tonnage.db.engines.events import asked
from tonnage.db.pooling.away import NoRoomError
from tonnage.db.pooling.slots import Grant, LineFullError, Slots
from tonnage.db.pooling.upkeep import InThreads, look_seconds
from tonnage.db.pooling.waiters import ThreadWaiter
from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from tonnage.db.pooling.keeper import Keeper
    from tonnage.db.pooling.upkeep import Home

#: A connection that was used so recently is taken to be alive: asking costs up to three answers of
#: the server.
SURE_SECONDS: Final = 1.0
#: Lifetimes are this part shorter by chance, lest all connections of all workers end together.
JITTER_SHARE: Final = 0.2

Entry = ConnectionPoolEntry


class BoundedPool(Pool):
    """The connections of one engine; this one for threads.

    Args:
        creator: what opens a connection.
        keeper: what the engine's pools have in common.
        given: as for SQLAlchemy's :class:`~sqlalchemy.pool.Pool`.
    """

    def __init__(self, creator: Any, keeper: Keeper, **given: Any) -> None:
        super().__init__(creator, **given)
        if not self.echo:
            # What SQLAlchemy says of its own pools is to be had in the same way.
            self.logger = logging.getLogger("sqlalchemy.pool.tonnage")
        self._keeper = keeper
        # What cannot be closed since it is the parent's of a fork.
        self._parents: list[object] = []
        # Those there are, with those in use; as many as the limit.
        self._entries: weakref.WeakSet[Entry] = weakref.WeakSet()
        self._is_looking = False
        self.is_closed = False
        self.slots = self._new_slots()
        keeper.add(self)

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
        self.close_those(self.slots.take_out(lambda _: True))

    def status(self) -> str:
        """Return one line for SQLAlchemy's log."""
        slots = self.slots
        return f"{slots.in_use} in use, {slots.idle} idle, {slots.waiting} waiting"

    # For the keeper.

    def resize(self, limit: int) -> None:
        """Have another limit apply from now on."""
        self.close_those(self.slots.resize(limit))

    def shrink(self, connections: int) -> int:
        """Close so many of those that rest, soon; return how many it will be."""
        gone = self.slots.take_out(lambda _: True, connections)
        if gone:
            self.home().run(partial(self.close_those, gone))
        return len(gone)

    def begin_anew(self) -> None:
        """Forget what there was: it is the parent's; called in a forked child."""
        self._parents += [self.slots, *map(taken_from_child, self._entries)]
        self._entries = weakref.WeakSet()
        self._is_looking = False
        self.slots = self._new_slots()

    def close_those(self, connections: list[Entry]) -> None:
        """Close what was taken out, and let others have its places."""
        for entry in connections:
            try:
                # As close(), but for a server that does not answer any more: then not for long.
                entry.invalidate()
            finally:
                self.slots.leave(None, time.monotonic())

    # As SQLAlchemy calls them.

    def _do_get(self) -> Entry:
        slots, wait_seconds = self._own_slots(), self._keeper.wait_seconds
        ends_seconds = time.monotonic() + (float("inf") if wait_seconds is None else wait_seconds)
        found: Grant[Entry] | ThreadWaiter | Entry = self._enter(slots)
        while not isinstance(found, Entry):
            if isinstance(found, ThreadWaiter):
                found = self._granted(slots, found, ends_seconds)
            found = self._used(slots, found)
        return found

    def _do_return_conn(self, record: Entry) -> None:
        now = time.monotonic()
        if record not in self._entries:
            return  # the parent's of a fork: its place was there
        if record.dbapi_connection is None:
            self.slots.leave(None, now)
        elif self.is_closed or not self.slots.leave(record, now):
            self.close_those([record])
        else:
            self._look_later()

    # Inside.

    def _enter(self, slots: Slots[Entry]) -> Grant[Entry] | ThreadWaiter:
        try:
            return slots.take(self._new_waiter)
        except LineFullError:
            raise self._keeper.busy(slots.waiting, None) from None

    def _granted(
        self, slots: Slots[Entry], waiter: ThreadWaiter, ends_seconds: float
    ) -> Grant[Entry]:
        """Wait for a place; what becomes of it then is for the caller."""
        seconds = max(0.0, ends_seconds - time.monotonic())
        try:
            granted = waiter.wait(None if seconds == float("inf") else seconds)
        except BaseException:  # cancelled
            self._give_up(slots, waiter)
            raise
        if granted is None and slots.forget(waiter):
            raise self._keeper.busy(slots.waiting, self._keeper.wait_seconds)
        return granted if granted is not None else waiter.granted()

    def _used(self, slots: Slots[Entry], grant: Grant[Entry]) -> Entry | ThreadWaiter:
        """Return a connection, or who waits for another since the server has no room for one."""
        try:
            try:
                entry = self._living(grant) or self._create_connection()
            except NoRoomError as error:
                return self._keeper.wait_instead(error, slots, self._new_waiter)
        except BaseException:
            if grant.item is not None:
                grant.item.invalidate()  # cancelled while it was asked; else it is closed already
            slots.leave(None, time.monotonic())
            raise
        self._entries.add(entry)
        return entry

    def _give_up(self, slots: Slots[Entry], waiter: ThreadWaiter) -> None:
        """Have whoever does not wait any more get nothing, or give it back."""
        if slots.forget(waiter):
            return
        try:
            grant = waiter.granted()
        except DatabaseError:
            return  # an error instead of a place: there is nothing to give back
        entry = cast("Entry | None", grant.item)
        if not slots.leave(entry, grant.since_seconds) and entry is not None:
            self.close_those([entry])

    def _living(self, grant: Grant[Entry]) -> Entry | None:
        """Return the connection that rested, if it can be used; else it is closed."""
        entry, now = grant.item, time.monotonic()
        if entry is None:
            return None
        if self._has_ended(entry):
            entry.invalidate()
            return None
        rested_since = grant.since_seconds
        is_sure = (
            now - rested_since < SURE_SECONDS and rested_since > self._keeper.lost_seconds
        ) and not may_be_dead(entry)
        if is_sure or self._answers(entry):
            return entry
        entry.invalidate()
        self._keeper.lose()
        return None

    def _has_ended(self, entry: Entry) -> bool:
        ends = entry.info.get("tonnage_ends")
        if ends is None:
            part = 1.0 - random.random() * JITTER_SHARE
            ends = time.monotonic() + self._keeper.lifetime_seconds * part
            entry.info["tonnage_ends"] = ends
        return cast("float", ends) <= time.monotonic()

    def _answers(self, entry: Entry) -> bool:
        try:
            self._ping(entry.dbapi_connection)
        except Exception:  # noqa: BLE001  (whatever it is: another one is opened)
            return False
        return True

    def _ping(self, connection: Any) -> None:
        cast("Any", self._dialect).do_ping(connection)

    def _new_slots(self) -> Slots[Entry]:
        return Slots(self._keeper.limit_now, self._keeper.most_waiting)

    def _own_slots(self) -> Slots[Entry]:
        return self.slots

    def _new_waiter(self) -> ThreadWaiter:
        return ThreadWaiter()

    def home(self) -> Home:
        """Return where its connections are looked after."""
        return InThreads()

    # Beside requests.

    def _look_later(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            seconds = look_seconds(self._keeper.idle_seconds)
            self.home().later(seconds, partial(_look, weakref.ref(self)))

    def look(self) -> None:
        """Close what is due, and ask the server how many there are; then look again later."""
        self._is_looking = False
        due = self.slots.take_rested(self._keeper.idle_seconds, self._has_ended)
        is_asking = self._keeper.wants_count
        if due or is_asking:
            self.home().run(partial(self._look_after, due, is_asking=is_asking))
        if self.slots.idle or self.slots.in_use:
            self._look_later()

    def _look_after(self, due: list[Entry], *, is_asking: bool) -> None:
        self.close_those(due)
        grant = self.slots.borrow() if is_asking else None
        if grant is not None and grant.item is not None:
            try:
                self._keeper.counted(asked(grant.item.dbapi_connection, self._keeper.dialect))
            except Exception:  # noqa: BLE001  (it has died; whoever had got it would have seen)
                grant.item.invalidate()
                self._keeper.lose()
                self.slots.leave(None, time.monotonic())
            else:
                if self.is_closed or not self.slots.leave(grant.item, grant.since_seconds):
                    self.close_those([grant.item])


def _look(reference: weakref.ref[BoundedPool]) -> None:
    pool = reference()
    if pool is not None:
        pool.look()
