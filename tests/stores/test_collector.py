"""The collector may run an application's finalizers at any line: nobody waits for himself then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.stores.writer.sinks import Kept
from tests.support.collector import hangs_at

from tonnage import BatchWriter, Cache


class Session:
    """Something in a cycle that does something when it is collected."""

    def __init__(self, at_its_end: Callable[[], object]) -> None:
        self.itself = self
        self._at_its_end = at_its_end

    def __del__(self) -> None:
        self._at_its_end()


def end_of(cache: Cache[int]) -> Callable[[], object]:
    """Return what forgets a session, and makes what has to be made then."""

    def end() -> None:
        cache.delete("session")
        cache.delete("sessions")
        cache.get_or_make("sessions", lambda: 0)

    return end


def test_a_cache_is_told_to_forget_while_a_value_is_made() -> None:
    """As of a session that nobody has closed."""
    cache: Cache[int] = Cache()
    cache.set("session", 1)

    def act() -> None:
        cache.delete("made")
        cache.get_or_make("made", lambda: 2)

    assert hangs_at("stores/flights.py", lambda: Session(end_of(cache)), act) == []
    assert (cache.get("session"), cache.get("made")) == (None, 2)


def test_a_writer_gets_a_record_while_it_takes_one() -> None:
    """As from a handler of the log, where a finalizer says something."""
    sink = Kept()
    sink.shut()
    writer = BatchWriter("log", sink, max_records=2, flush_seconds=60)
    added = 0

    def add() -> None:
        nonlocal added
        added += 1
        writer.put({"n": added})

    for module in ("writer/buffer.py", "writer/memory.py", "writer/notices.py"):
        assert hangs_at(module, lambda: Session(add), add) == []
    counts = writer.statistics()
    sink.open()
    asyncio.run(writer.close())
    assert counts.total_added == added
    assert counts.total_dropped == added - counts.buffer_size
