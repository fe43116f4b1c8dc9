"""Delivery: a sink that fails, hangs or rejects, and what becomes of each record."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.stores.writer.sinks import Kept, numbered, until

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.sinks.sink import Batch
from tonnage.stores.writer.delivery import LONGEST_PAUSE_SECONDS, Delivery, _has_tenacity
from tonnage.stores.writer.notices import Notice
from tonnage.stores.writer.rejected import MOST_KEPT, MOST_KEPT_BYTES, Rejected


class Time:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        """Return them."""
        return self.now_seconds

    async def sleep(self, seconds: float) -> None:
        """Have them pass."""
        self.pauses.append(seconds)
        self.now_seconds += seconds


def delivery(sink: Kept, time: Time | None = None, **options: Any) -> Delivery:
    """Return a delivery into *sink* whose pauses take no time."""
    time = time or Time()
    rejected = options.pop("rejected", None) or Rejected("test")
    return Delivery("test", sink, rejected=rejected, clock=time, sleep=time.sleep, **options)


async def test_what_fails_is_tried_again_until_it_is_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With pauses that grow and are bounded; the log says so twice."""
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
    assert caplog.messages == [
        "writer test: the sink does not take records, trying again: ConnectionRefusedError: no 0",
        f"writer test: the sink takes records again, after {time.now_seconds:.1f} s",
    ]


async def test_a_failure_can_be_seen_while_it_lasts() -> None:
    """And not afterwards."""
    sink = Kept()
    sink.errors = [OSError()]
    seen = []

    async def look(seconds: float) -> None:
        seen.append(found.is_failing)

    sink.errors *= 3
    found = Delivery("test", sink, rejected=Rejected("test"), sleep=look)
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


@pytest.mark.parametrize("bad", [{0}, {9}, {4, 5}, {0, 3, 9}, set(range(10)), set()])
async def test_records_at_fault_are_found_and_set_aside(bad: set[int]) -> None:
    """The others are stored, in order, each once."""
    sink = Kept()
    sink.rejects = lambda record: record["n"] in bad
    rejected = Rejected("test")
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


async def test_a_sink_that_cannot_be_closed_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """The log says so."""

    class Broken(Kept):
        async def close(self) -> None:
            raise ValueError("broken")

    await delivery(Broken()).close()
    assert "the sink could not be closed: ValueError: broken" in caplog.text


def test_rejected_records_are_bounded_in_memory() -> None:
    """In number and in bytes; all are counted."""
    rejected = Rejected("test")
    for n in range(1000):
        rejected.set_aside({"n": n}, None, RecordsRejectedError("bad"))
    assert [each.record["n"] for each in rejected.records()] == list(range(1000 - MOST_KEPT, 1000))
    for n in range(10):
        rejected.set_aside({"n": n, "text": "x" * 100_000}, None, RecordsRejectedError("bad"))
    assert len(rejected.records()) == MOST_KEPT_BYTES // 100_000
    assert rejected.total == 1010


def test_the_log_says_why_and_not_what(caplog: pytest.LogCaptureFixture) -> None:
    """Once a second at most, and nothing is left out."""
    rejected = Rejected("test")
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
    notice = Notice("%d times: %s", clock=lambda: now[0])
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


def test_rejected_records_are_appended_to_a_file(tmp_path: Path) -> None:
    """A line of JSON each, whatever they hold."""
    file = tmp_path / "rejected.jsonl"
    rejected = Rejected("test", file, now=lambda: 7.0)
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
    rejected = Rejected("test", file, most_file_bytes=1000)
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


def test_a_file_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Delivery goes on."""
    rejected = Rejected("test", tmp_path / "none" / "rejected.jsonl")
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
