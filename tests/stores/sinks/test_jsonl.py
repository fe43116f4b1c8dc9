"""Files of JSON lines: real files, several processes, a disk that is full."""

from __future__ import annotations

import asyncio
import datetime
import enum
import json
import resource
import signal
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from tests.support.forking import fork, status_of

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.sinks import Batch, JsonlSink


def files(path: Path) -> list[str]:
    """Return the names of all files beside *path*."""
    return sorted(each.name for each in path.parent.iterdir())


def lines(path: Path) -> list[Any]:
    """Return the records of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Colour(enum.Enum):
    """One of several."""

    RED = "red"


async def test_each_record_is_a_line(tmp_path: Path) -> None:
    """Each record is a line; what JSON does not know is written as text."""
    path = tmp_path / "new" / "events.jsonl"
    sink = JsonlSink(path)
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    odd = {"at": at, "day": at.date(), "for": at - at, "n": Decimal("1.10"), "c": Colour.RED}
    await sink.write(Batch([{"name": "a\nb", "score": 1.5}, odd]))
    await sink.write(Batch([{"id": UUID(int=7), "tags": {"x"}, "path": Path("a/b"), "none": None}]))
    await sink.write(Batch([{"held": MappingProxyType({"a": 1})}]))
    await sink.close()
    assert lines(path) == [
        {"name": "a\nb", "score": 1.5},
        {"at": at.isoformat(), "day": "2026-01-02", "for": 0.0, "n": "1.10", "c": "red"},
        {"id": str(UUID(int=7)), "tags": ["x"], "path": "a/b", "none": None},
        {"held": {"a": 1}},
    ]


async def test_ids_are_written_where_a_key_is_named(tmp_path: Path) -> None:
    """Ids are written where a key is named for them."""
    path = tmp_path / "events.jsonl"
    await JsonlSink(path, id_column="id").write(Batch([{"n": 1}, {"id": "own"}], ["x", "y"]))
    await JsonlSink(path).write(Batch([{"n": 2}], ["z"]))
    assert lines(path) == [{"id": "x", "n": 1}, {"id": "own"}, {"n": 2}]


def looped() -> dict[str, Any]:
    """Return what contains itself."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    return loop


@pytest.mark.parametrize("value", [b"bytes", object(), float("nan"), float("inf"), looped()])
async def test_what_json_cannot_hold_is_rejected(tmp_path: Path, value: object) -> None:
    """What JSON cannot hold is rejected, and nothing of its batch is written."""
    path = tmp_path / "events.jsonl"
    with pytest.raises(RecordsRejectedError):
        await JsonlSink(path).write(Batch([{"n": 1}, {"n": value}]))
    assert not path.exists()


async def test_a_few_files_of_a_size_are_kept(tmp_path: Path) -> None:
    """A few files of a size are kept, the newest under the plain name."""
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path, file_bytes=30, files_kept=2)
    for number in range(10):
        await sink.write(Batch([{"number": number}]))  # 13 bytes each
    assert files(path) == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    found = [lines(path.with_name(name)) for name in ("events.jsonl.2", "events.jsonl.1")]
    assert [*found[0], *found[1], *lines(path)] == [{"number": number} for number in range(4, 10)]


async def test_none_may_be_kept_and_a_batch_may_be_larger_than_a_file(tmp_path: Path) -> None:
    """None may be kept; a batch that is larger than a file is one of its own."""
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path, file_bytes=30, files_kept=0, fsync=True)
    for begin in (0, 10):
        await sink.write(Batch([{"number": number} for number in range(begin, begin + 10)]))
    assert lines(path) == [{"number": number} for number in range(10, 20)]
    assert files(path) == ["events.jsonl"]


async def test_what_is_written_through_follows_what_was_before(tmp_path: Path) -> None:
    """Each batch is on the disk when it counts as stored; a new file, its name too."""
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path, fsync=True)
    for number in range(3):
        await sink.write(Batch([{"number": number}]))
    assert lines(path) == [{"number": number} for number in range(3)]


def test_several_processes_write_to_one_file(tmp_path: Path) -> None:
    """Several processes write to one file: each line is whole, none is lost, none comes twice."""
    path = tmp_path / "events.jsonl"
    pids = [fork(partial(_write_some, path, worker)) for worker in range(4)]
    assert [status_of(pid) for pid in pids] == [0] * 4
    written = list(tmp_path.iterdir())
    found = [(each["worker"], each["number"], each["part"]) for file in written
             for each in lines(file)]  # fmt: skip
    assert sorted(found) == [(w, n, p) for w in range(4) for n in range(50) for p in range(3)]
    assert len(written) > 4
    assert all(file.stat().st_size <= 2000 for file in written)


def test_what_does_not_fit_on_the_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """What does not fit on the disk leaves nothing behind, and is written once there is room."""
    path = tmp_path / "events.jsonl"
    assert status_of(fork(partial(_fill, path))) == 0
    assert lines(path) == [{"n": 1}, {"n": 2}]


def _write_some(path: Path, worker: int) -> None:
    sink = JsonlSink(path, file_bytes=2000, files_kept=1000)
    for number in range(50):
        records = [{"worker": worker, "number": number, "part": part} for part in range(3)]
        asyncio.run(sink.write(Batch(records)))


def _fill(path: Path) -> None:
    """Write more than a file may have, and then no more than that."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sink = JsonlSink(path)
    asyncio.run(sink.write(Batch([{"n": 1}])))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    with pytest.raises(OSError, match="File too large"):
        asyncio.run(sink.write(Batch([{"n": "x" * 50}, {"n": "y" * 50}])))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    asyncio.run(sink.write(Batch([{"n": 2}])))


@pytest.mark.parametrize("given", [{"file_bytes": 0}, {"files_kept": -1}])
def test_bounds_without_sense_are_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    """Bounds without sense are refused."""
    with pytest.raises(ConfigError):
        JsonlSink(tmp_path / "events.jsonl", **given)


async def test_writes_at_once_take_turns(tmp_path: Path) -> None:
    """Writes at once take turns, also while files change."""
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path, file_bytes=100, files_kept=100)
    await asyncio.gather(*(sink.write(Batch([{"number": number}])) for number in range(50)))
    found = [each["number"] for name in files(path) for each in lines(tmp_path / name)]
    assert sorted(found) == list(range(50))
