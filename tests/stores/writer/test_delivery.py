"""Delivery: a sink that fails, hangs or rejects, and what becomes of each record."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stores.writer.sinks import Kept, numbered
from tests.support.forking import fork, status_of
from tests.support.waiting import until

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.sinks.sink import Batch
from tonnage.stores.writer.delivery import LONGEST_PAUSE_SECONDS, Delivery, _has_tenacity
from tonnage.stores.writer.notices import Notice
from tonnage.stores.writer.patience import MOST_AT_FIRST, MOST_IN_A_ROW, TRIES
from tonnage.stores.writer.rejected import MOST_KEPT, MOST_KEPT_BYTES, Rejected

_STILL = (
    r"writer test: the sink does not take records for \d+ s now: ConnectionRefusedError: no \d+"
)


class Time:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self.pauses: list[float] = []
        #: If set, each pause takes so long.
        self.sleep_seconds: float | None = None

    def __call__(self) -> float:
        """Return them."""
        return self.now_seconds

    async def sleep(self, seconds: float) -> None:
        """Have them pass."""
        self.pauses.append(seconds)
        self.now_seconds += self.sleep_seconds or seconds
        await asyncio.sleep(0)


def setting_aside(file: Path | None = None, **options: Any) -> Rejected:
    """Return what sets records aside, and says nothing later: another test would hear it."""
    return Rejected("test", file, later=lambda seconds, look: None, **options)


def delivery(sink: Kept, time: Time | None = None, **options: Any) -> Delivery:
    """Return a delivery into *sink* whose pauses take no time."""
    time = time or Time()
    rejected = options.pop("rejected", None) or setting_aside()
    return Delivery("test", sink, rejected=rejected, clock=time, sleep=time.sleep, **options)


async def test_what_fails_is_tried_again_until_it_is_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With pauses that grow and are bounded; the log says so, once a minute, and when it ends."""
    time, sink = Time(), Kept()
    sink.errors = [ConnectionRefusedError(f"no {n}") for n in range(200)]
    found = delivery(sink, time)
    await found.deliver(Batch(numbered(0, 3)))

    assert (sink.numbers, found.total_flushed, sink.asked) == ([0, 1, 2], 3, 201)
    assert max(time.pauses[:3]) <= 2
    assert max(time.pauses) <= LONGEST_PAUSE_SECONDS
    assert LONGEST_PAUSE_SECONDS / 3 < sum(time.pauses[-100:]) / 100 < LONGEST_PAUSE_SECONDS
    assert len(set(time.pauses)) > 190, "pauses are not random"
    assert not found.is_failing
    assert caplog.messages[0] == (
        "writer test: the sink does not take records, trying again: ConnectionRefusedError: no 0"
    )
    assert caplog.messages[-1] == (
        f"writer test: the sink takes records again, after {time.now_seconds:.1f} s"
    )
    between = [re.fullmatch(_STILL, line) for line in caplog.messages[1:-1]]
    assert all(between)
    assert time.now_seconds / 72 < len(between) + 1 <= time.now_seconds / 60 + 1


async def test_a_failure_can_be_seen_while_it_lasts() -> None:
    """And not afterwards."""
    sink = Kept()
    sink.errors = [OSError()]
    seen = []

    async def look(seconds: float) -> None:
        seen.append(found.is_failing)

    sink.errors *= 3
    found = Delivery("test", sink, rejected=setting_aside(), sleep=look)
    await found.deliver(Batch(numbered(0, 1)))
    assert set(seen) == {True}
    assert not found.is_failing


async def test_a_write_that_hangs_is_cancelled_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After its deadline."""
    sink = Kept()
    sink.shut()
    found = delivery(sink, write_seconds=0.01)
    asyncio.get_running_loop().call_later(0.05, sink.open)
    await found.deliver(Batch(numbered(0, 3)))
    assert sink.numbers == [0, 1, 2]
    assert sink.asked > 2
    assert "no answer within 0.01 s" in caplog.text


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), SystemExit(1), KeyboardInterrupt(), GeneratorExit()]
)
async def test_what_would_end_a_task_or_the_process_is_a_failure_of_the_sink(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Also a cancellation of its own: it is tried again."""
    sink = Kept()
    sink.errors = [error, error]
    found = delivery(sink)
    await found.deliver(Batch(numbered(0, 3)))
    assert (sink.numbers, sink.asked) == ([0, 1, 2], 3)
    assert f"the sink has raised {type(error).__name__}" in caplog.messages[0]


class Deaf(Kept):
    """A sink that does not let itself be cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = self.most_at_once = 0

    async def write(self, batch: Batch) -> None:
        """Store it, some day."""
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        while True:
            try:
                await super().write(batch)
                break
            except asyncio.CancelledError:
                self.asked -= 1
        self.at_once -= 1


async def test_a_write_that_cannot_be_cancelled_has_failed_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After its deadline; no other begins until it ends, and then the batch is tried again."""
    sink = Deaf()
    sink.shut()
    found = delivery(sink, write_seconds=0.01)
    delivering = asyncio.create_task(found.deliver(Batch(numbered(0, 3))))
    await until(lambda: found.is_failing)
    await asyncio.sleep(0.05)
    assert (sink.asked, delivering.done()) == (1, False)
    sink.open()
    await delivering
    assert (sink.most_at_once, sink.numbers[-3:], found.total_flushed) == (1, [0, 1, 2], 3)
    assert "no answer within 0.01 s" in caplog.text
    assert not found.is_failing


async def test_what_cannot_be_cancelled_does_not_keep_the_end_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither a write nor the sink's own closing; it is closed all the same."""

    class Stays(Deaf):
        async def close(self) -> None:
            await super().close()
            await self.write(Batch(numbered(0, 1)))

    sink = Stays()
    sink.shut()
    found = delivery(sink)
    delivering = asyncio.create_task(found.deliver(Batch(numbered(0, 3))))
    await until(lambda: sink.asked == 1)
    async with asyncio.timeout(0.5):
        delivering.cancel()
        await asyncio.wait([delivering])
        await found.close(0.02)
    assert sink.closed == 1
    assert "the sink could not be closed: TimeoutError" in caplog.text
    sink.open()
    await until(lambda: not sink.at_once)


class Stumbles(Kept):
    """A sink with a mistake: it raises *error* for some records."""

    def __init__(self, error: Exception, bad: set[int]) -> None:
        super().__init__()
        self.error = error
        self.bad = bad

    async def write(self, batch: Batch) -> None:
        """Store all of it, or stumble."""
        if any(record["n"] in self.bad for record in batch.records):
            self.asked += 1
            raise self.error.with_traceback(None)
        await super().write(batch)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("text"),
        IndexError("tuple index out of range"),
        TypeError("not a str"),
        ValueError("not a number"),
        AttributeError("encode"),
        AssertionError(),
        OverflowError("too large"),
        RecursionError("too deep"),
    ],
)
async def test_a_record_over_which_the_sink_stumbles_is_found_and_set_aside(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """When the batch has failed in the same way for some time; the log has a traceback, once."""
    sink = Stumbles(error, {4, 7})
    rejected = setting_aside()
    found = delivery(sink, rejected=rejected)
    await found.deliver(Batch(numbered(0, 10)))
    await found.deliver(Batch(numbered(10, 20)))
    assert sink.numbers == [0, 1, 2, 3, 5, 6, 8, 9, *range(10, 20)]
    assert [each.record["n"] for each in rejected.records()] == [4, 7]
    assert all(type(error).__name__ in each.reason for each in rejected.records())
    assert TRIES < sink.asked < TRIES + 20
    assert [record.exc_info is not None for record in caplog.records].count(True) == 1
    assert sum("the same way 10 times" in line for line in caplog.messages) == 1
    assert not found.is_failing


class StrangeError(ValueError):
    """What a driver derives from an error of Python."""


@pytest.mark.parametrize(
    "error",
    [
        OSError("gone"),
        TimeoutError(),
        ConnectionResetError(),
        RuntimeError("loop"),
        StrangeError("x"),
        MemoryError(),
    ],
)
async def test_what_may_pass_is_tried_for_ever(error: Exception) -> None:
    """Nothing is set aside for the network, the disk, or what a driver says."""
    sink, time = Kept(), Time()
    sink.errors = [error] * 100
    found = delivery(sink, time)
    await found.deliver(Batch(numbered(0, 3)))
    assert (sink.asked, found.total_flushed, found.total_failed) == (101, 3, 0)


async def test_one_mistake_among_failures_of_the_network_is_no_record_at_fault() -> None:
    """It has to come again and again in a row, and of one kind."""
    sink = Kept()
    for _ in range(10):
        sink.errors += [KeyError("x")] * (TRIES - 1) + [OSError("gone")]
    sink.errors += [KeyError("x"), TypeError("x")] * TRIES
    found = delivery(sink)
    await found.deliver(Batch(numbered(0, 3)))
    assert (found.total_flushed, found.total_failed) == (3, 0)


@pytest.mark.parametrize(("stored", "lost"), [(0, MOST_AT_FIRST), (500, MOST_IN_A_ROW)])
async def test_a_sink_that_stumbles_over_everything_is_waited_for(stored: int, lost: int) -> None:
    """Few records are set aside, fewer where it has never worked; the rest is stored later."""
    sink, time = Stumbles(KeyError("config"), set()), Time()
    found = delivery(sink, time)
    if stored:
        await found.deliver(Batch(numbered(0, stored)))
    sink.bad = set(range(2000))
    delivering = asyncio.create_task(found.deliver(Batch(numbered(1000, 1500))))
    await until(lambda: len(time.pauses) > 200)
    assert found.total_failed == lost
    assert found.is_failing
    sink.bad = set()
    await delivering
    assert (found.total_failed, found.total_flushed) == (lost, stored + 500 - lost)


async def test_the_log_says_so_when_a_failure_changes(caplog: pytest.LogCaptureFixture) -> None:
    """Once for each kind of error a minute, however often they alternate."""
    sink, time = Kept(), Time()
    sink.errors = [PermissionError("no"), ConnectionRefusedError("gone")] * 10
    time.sleep_seconds = 1.0
    await delivery(sink, time).deliver(Batch(numbered(0, 3)))
    assert [line.split(": ", 1)[1] for line in caplog.messages[:-1]] == [
        "the sink does not take records, trying again: PermissionError: no",
        "the sink fails in another way now, trying again: ConnectionRefusedError: gone",
    ]


@pytest.mark.parametrize("bad", [{0}, {9}, {4, 5}, {0, 3, 9}, set(range(10)), set()])
async def test_records_at_fault_are_found_and_set_aside(bad: set[int]) -> None:
    """The others are stored, in order, each once."""
    sink = Kept()
    sink.rejects = lambda record: record["n"] in bad
    rejected = setting_aside()
    found = delivery(sink, rejected=rejected)
    ids = [f"id{n}" for n in range(10)]
    await found.deliver(Batch(numbered(0, 10), ids))

    assert sink.numbers == [n for n in range(10) if n not in bad]
    assert (found.total_flushed, found.total_failed) == (10 - len(bad), len(bad))
    assert [(each.record["n"], each.id) for each in rejected.records()] == [
        (n, f"id{n}") for n in sorted(bad)
    ]


async def test_one_record_at_fault_costs_few_writes() -> None:
    """Twice the logarithm."""
    sink = Kept()
    sink.rejects = lambda record: bool(record["n"] == 700)
    await delivery(sink).deliver(Batch(numbered(0, 1024)))
    assert sink.asked == 21
    assert len(sink.records) == 1023


async def test_a_sink_that_fails_while_it_looks_for_the_fault_is_waited_for() -> None:
    """Nothing is set aside that is not at fault."""
    sink = Kept()
    sink.rejects = lambda record: bool(record["n"] == 2)
    sink.errors = [RecordsRejectedError("one of them"), OSError("gone"), OSError("gone")]
    found = delivery(sink)
    await found.deliver(Batch(numbered(0, 4)))
    assert (sink.numbers, found.total_failed) == ([0, 1, 3], 1)


async def test_cancelled_it_says_what_is_left() -> None:
    """What is stored already is not."""

    class Tires(Kept):
        async def write(self, batch: Batch) -> None:
            await super().write(batch)
            self.shut()

    sink = Tires()
    sink.errors = [RecordsRejectedError("one of them")]
    found = delivery(sink)
    task = asyncio.create_task(found.deliver(Batch(numbered(0, 4))))
    await until(lambda: sink.asked == 3)
    task.cancel()
    await asyncio.wait([task])
    assert [record["n"] for part in found.left for record in part.records] == [2, 3]


def test_what_is_no_sink_is_refused() -> None:
    """When the writer is made: not with the first record, for ever."""
    for each in (None, "events.jsonl", Kept, object()):
        with pytest.raises(ConfigError, match=r"writer 'test': .* is no sink"):
            delivery(each)  # type: ignore[arg-type]


async def test_a_sink_that_cannot_be_closed_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """The log says so."""

    class Broken(Kept):
        async def close(self) -> None:
            raise ValueError("broken")

    await delivery(Broken()).close()
    assert "the sink could not be closed: ValueError: broken" in caplog.text


def test_rejected_records_are_bounded_in_memory() -> None:
    """In number and in bytes; all are counted."""
    rejected = setting_aside()
    for n in range(1000):
        rejected.set_aside({"n": n}, None, RecordsRejectedError("bad"))
    assert [each.record["n"] for each in rejected.records()] == list(range(1000 - MOST_KEPT, 1000))
    for n in range(10):
        rejected.set_aside({"n": n, "text": "x" * 100_000}, None, RecordsRejectedError("bad"))
    assert len(rejected.records()) == MOST_KEPT_BYTES // 100_000
    assert rejected.total == 1010


def test_the_log_says_why_and_not_what(caplog: pytest.LogCaptureFixture) -> None:
    """Once a second at most, and nothing is left out."""
    rejected = setting_aside()
    for n in range(1000):
        rejected.set_aside({"password": "secret"}, str(n), RecordsRejectedError("too\nlong"))
    rejected.settle()
    assert caplog.messages == [
        f"writer test: {count} records rejected and set aside: RecordsRejectedError: too long"
        for count in (1, 999)
    ]


def test_a_notice_speaks_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """With the sum of what it did not say."""
    now = [0.0]
    notice = Notice("%d times: %s", clock=lambda: now[0], later=lambda seconds, look: None)
    for tenth in range(25):
        now[0] = tenth / 10
        notice.add(1, "full")
    notice.settle()
    notice.settle()
    assert [record.args for record in caplog.records] == [
        (1, "full"),
        (10, "full"),
        (10, "full"),
        (4, "full"),
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_notice_says_the_rest_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A second later, though nothing happens any more; each time anew, by one timer."""
    now = [0.0]
    timers: list[tuple[float, Callable[[], object]]] = []

    def later(seconds: float, look: Callable[[], object]) -> None:
        timers.append((now[0] + seconds, look))

    notice = Notice("%d times: %s", clock=lambda: now[0], later=later)

    def pass_time() -> None:
        ((now[0], look),) = timers
        timers.clear()
        look()

    for _ in range(5):
        notice.add(1, "full")
    assert [at_seconds for at_seconds, _ in timers] == [1]
    pass_time()
    assert [record.args for record in caplog.records] == [(1, "full"), (4, "full")]
    assert not timers
    notice.add(7, "full")
    now[0] += 0.5
    notice.settle()
    notice.add(1, "full")
    pass_time()
    assert len(caplog.records) == 3, "two lines within a second"
    pass_time()
    assert [record.args for record in caplog.records[2:]] == [(7, "full"), (1, "full")]


async def test_a_notice_needs_nobody_for_that(caplog: pytest.LogCaptureFixture) -> None:
    """It has a timer in the loop beside requests."""
    notice = Notice("%d times: %s")
    for _ in range(5):
        notice.add(1, "full")
    await until(lambda: len(caplog.records) == 2)
    assert caplog.messages == ["1 times: full", "4 times: full"]


def test_rejected_records_are_appended_to_a_file(tmp_path: Path) -> None:
    """A line of JSON each, whatever they hold."""
    file = tmp_path / "rejected.jsonl"
    rejected = setting_aside(file, now=lambda: 7.0)
    itself: list[Any] = []
    itself.append(itself)
    records: list[dict[Any, Any]] = [{"n": 1}, {"n": {1, 2}}, {"n": itself}, {("a", 1): 2}]
    for record in records:
        rejected.set_aside(record, "id", RecordsRejectedError("bad"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 4
    assert lines[0] == {
        "at": 7.0,
        "id": "id",
        "reason": "RecordsRejectedError: bad",
        "record": {"n": 1},
    }
    assert file.stat().st_mode & 0o777 == 0o600


def test_that_file_is_bounded(tmp_path: Path) -> None:
    """With the one before it; a record larger than that leaves its reason."""
    file = tmp_path / "rejected.jsonl"
    rejected = setting_aside(file, most_file_bytes=1000)
    for n in range(100):
        rejected.set_aside({"n": n}, None, RecordsRejectedError("bad"))
        assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= 2000
    before = file.with_name("rejected.jsonl.1")
    kept = [json.loads(line) for line in (before.read_text() + file.read_text()).splitlines()]
    numbers = [each["record"]["n"] for each in kept]
    assert numbers == list(range(100 - len(numbers), 100))
    assert len(numbers) > 10
    rejected.set_aside({"text": "x" * 2000}, None, RecordsRejectedError("long"))
    assert json.loads(file.read_text().splitlines()[-1])["record"] == {}


def test_of_a_line_that_does_not_fit_on_the_disk_nothing_is_left(tmp_path: Path) -> None:
    """And the next one is whole again."""
    file = tmp_path / "rejected.jsonl"

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        rejected = setting_aside(file)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        rejected.set_aside({"text": "x" * 100}, None, RecordsRejectedError("bad"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        rejected.set_aside({"n": 2}, None, RecordsRejectedError("bad"))

    assert status_of(fork(fill)) == 0
    assert [json.loads(line)["record"] for line in file.read_text().splitlines()] == [{"n": 2}]


async def test_a_record_that_cannot_be_shown_loses_no_other(tmp_path: Path) -> None:
    """Its line is without it: a number too long for a text, or one whose own code fails."""

    class Silent:
        def __str__(self) -> str:
            raise LookupError

        __repr__ = __str__

    file, sink = tmp_path / "rejected.jsonl", Kept()
    sink.rejects = lambda record: "odd" in record
    found = delivery(sink, rejected=setting_aside(file))
    odd: list[dict[str, Any]] = [{"odd": 10**5000}, {"odd": Silent()}]
    await found.deliver(Batch([{"n": 1}, *odd, {"n": 2}]))
    assert (sink.numbers, found.total_failed) == ([1, 2], 2)
    assert [json.loads(line)["record"] for line in file.read_text().splitlines()] == [{}, {}]


def test_a_file_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Delivery goes on."""
    rejected = setting_aside(tmp_path / "none" / "rejected.jsonl")
    for _ in range(10):
        rejected.set_aside({}, None, RecordsRejectedError("bad"))
    assert sum("could not be appended" in line for line in caplog.messages) == 1
    assert rejected.total == 10


def test_without_tenacity_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the writer is made, not when the sink fails."""
    _has_tenacity.cache_clear()
    monkeypatch.setitem(sys.modules, "tenacity", None)
    try:
        with pytest.raises(ConfigError, match=r"pip install 'tonnage\[writers\]'"):
            delivery(Kept())
    finally:
        _has_tenacity.cache_clear()
