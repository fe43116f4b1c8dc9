"""The level that all workers of a machine have in common."""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.clock import Clock
from tests.support.forking import fork, status_of
from tests.support.waiting import await_true

from tonnage.errors import ConfigError, StoreError
from tonnage.stores.bulletin import bulletin
from tonnage.stores.shared import queue
from tonnage.stores.shared.contents import LARGEST_SHARE
from tonnage.stores.shared.level import LEAST_BYTES, SharedLevel
from tonnage.stores.shared.mapped import LOOK_BYTES, MOST_MAPPED_BYTES, mapped
from tonnage.stores.shared.records import NO_TAG
from tonnage.stores.shared.store import TURN_SECONDS, Tables, open_store
from tonnage.units import KIB, MIB

_serial = itertools.count()


@pytest.fixture
def name() -> str:
    """Return a name that no other test has."""
    return f"shared {next(_serial)}"


def keep(level: SharedLevel, key: str, value: Any = "value", **options: Any) -> bool:
    """Keep something as of now, for 100 s."""
    return level.keep(key, value, **{"as_of": None, "lasts_seconds": 100.0} | options)


def value_of(level: SharedLevel, key: str) -> Any:
    """Return what is found, if anything."""
    found = level.look(key).found
    return found and found.value


# What is kept.


@pytest.mark.parametrize(
    "value", [None, 7, "text", {"a": [1, {"b": (2,)}]}, b"", b"bytes", b"x" * 2000, b"y" * 50_000]
)
def test_what_was_kept_is_found(name: str, value: object) -> None:
    """As it was, with its tags and the time it has left."""
    clock = Clock()
    level = SharedLevel(name, MIB, clock=clock)
    assert level.look("'a'").found is None
    assert keep(level, "'a'", value, tags=("one", "zwölf"))
    clock.seconds += 30
    found = level.look("'a'").found
    assert found is not None
    assert (found.value, found.left_seconds, found.tags) == (value, 70, ("one", "zwölf"))
    assert type(found.value) is type(value)
    clock.seconds += 70
    assert level.look("'a'").found is None


def test_what_stays_for_ever_says_so(name: str) -> None:
    """What stays for ever says so."""
    level = SharedLevel(name, MIB)
    assert keep(level, "'a'", lasts_seconds=float("inf"))
    found = level.look("'a'").found
    assert found is not None
    assert found.left_seconds == float("inf")
    assert not keep(level, "'b'", lasts_seconds=0)


def test_a_codec_writes_what_is_not_bytes(name: str) -> None:
    """And bytes stay as they are."""

    class Json:
        def dumps(self, value: Any) -> bytes:
            return json.dumps(value).encode()

        def loads(self, data: bytes) -> Any:
            return json.loads(data)

    level = SharedLevel(name, MIB, Json())
    assert keep(level, "'a'", (1, 2))
    assert keep(level, "'b'", b"{")
    assert (value_of(level, "'a'"), value_of(level, "'b'")) == ([1, 2], b"{")


def test_what_cannot_be_written_is_not_kept(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """And that is said, once for each kind of value."""
    level = SharedLevel(name, MIB)
    assert not keep(level, "'a'", lambda: 1)
    assert not keep(level, "'a'", lambda: 2)
    assert not keep(level, "'a'", threading.Lock())
    assert [each.levelno for each in caplog.records] == [logging.WARNING] * 2
    assert "function" in caplog.text
    assert value_of(level, "'a'") is None


def test_too_little_is_refused(name: str) -> None:
    """Too little is refused."""
    with pytest.raises(ConfigError, match="needs 1 MB at least, and not 1023 KB"):
        SharedLevel(name, LEAST_BYTES - KIB)


# What is forgotten.


def forget_key(level: SharedLevel) -> None:
    """Forget the key."""
    level.forget_key("'a'")


def forget_tag(level: SharedLevel) -> None:
    """Forget its tag, and another."""
    level.forget_tags(["another", "tag"])


def clear(level: SharedLevel) -> None:
    """Forget everything."""
    level.clear()


forgetting = pytest.mark.parametrize("forget", [forget_key, forget_tag, clear])


@forgetting
def test_what_was_forgotten_is_not_found(name: str, forget: Callable[[SharedLevel], None]) -> None:
    """Until it is kept anew."""
    level, other = SharedLevel(name, MIB), SharedLevel(name, MIB)
    for _ in range(3):
        assert keep(level, "'a'", tags=("tag",))
        assert value_of(other, "'a'") == "value"
        forget(other)
        assert level.look("'a'").found is None


@forgetting
def test_what_was_being_made_is_not_kept(name: str, forget: Callable[[SharedLevel], None]) -> None:
    """Whoever looked before it was forgotten made it of what was true before."""
    level = SharedLevel(name, MIB)
    for _ in range(3):
        before = level.look("'a'").as_of
        forget(level)
        assert not keep(level, "'a'", "old", as_of=before, tags=("tag",))
        after = level.look("'a'").as_of
        assert keep(level, "'a'", "new", as_of=after, tags=("tag",))
        assert value_of(level, "'a'") == "new"


def test_others_are_not_forgotten(name: str) -> None:
    """Neither entries of other keys and tags, nor what is made for them."""
    level = SharedLevel(name, MIB)
    before = level.look("'b'").as_of
    keep(level, "'c'", tags=("other",))
    level.forget_key("'a'")
    level.forget_tags(["tag"])
    assert value_of(level, "'c'") == "value"
    assert keep(level, "'b'", as_of=before, tags=("other",))


def test_what_is_newer_stays(name: str) -> None:
    """Somebody else has looked later, and was ready sooner."""
    level = SharedLevel(name, MIB)
    slow = level.look("'a'").as_of
    keep(level, "'b'")
    assert keep(level, "'a'", "newer", as_of=level.look("'a'").as_of)
    assert not keep(level, "'a'", "older", as_of=slow)
    assert value_of(level, "'a'") == "newer"


def test_clearing_gives_room_back(name: str) -> None:
    """Also where another process has cleared, which only says so (the supervisor does)."""
    level = SharedLevel(name, MIB)
    for key in range(300):
        keep(level, str(key), b"x" * 1000)
    assert level.used_bytes() > 300_000
    bulletin().clear(name)
    assert (value_of(level, "7"), level.used_bytes()) == (None, 0)
    level.settle()
    assert level.used_bytes() < 20_000
    assert keep(level, "7")
    assert value_of(level, "7") == "value"


def test_what_is_made_after_everything_was_cleared_is_kept(name: str) -> None:
    """Although nothing was written since, and another is ready sooner."""
    level = SharedLevel(name, MIB)
    keep(level, "'a'")
    bulletin().clear(name)
    after = level.look("'a'").as_of
    assert keep(level, "'b'")
    assert keep(level, "'a'", "new", as_of=after)
    assert value_of(level, "'a'") == "new"


# Its bound.


def file_bytes(level: SharedLevel) -> int:
    """Return what the file of a level takes."""
    assert level._store is not None
    return level._store.path.stat().st_size


@pytest.mark.parametrize("size_bytes", [MIB, 4 * MIB])
def test_its_bound_holds(name: str, size_bytes: int) -> None:
    """With values of all sizes, replaced, forgotten, expired; and it is filled."""
    level = SharedLevel(name, size_bytes)
    dice = random.Random(7)
    kept = 0
    for turn in range(4000):
        value = dice.randbytes(min(int(dice.lognormvariate(6.5, 1.5)), size_bytes // 20))
        kept += keep(level, str(dice.randrange(6000)), value, tags=(f"tag {turn % 100}",))
        if turn % 10 == 0:
            level.forget_key(str(dice.randrange(6000)))
        if turn % 50 == 0:
            level.forget_tags([f"tag {dice.randrange(100)}"])
        level.look(str(dice.randrange(6000)))
        assert level.used_bytes() <= size_bytes
    assert file_bytes(level) <= size_bytes
    assert level.used_bytes() >= 0.7 * size_bytes
    assert kept >= 3900


def test_what_is_too_large_is_not_kept(name: str) -> None:
    """And nothing has to leave for it."""
    level = SharedLevel(name, MIB)
    keep(level, "'a'")
    assert not keep(level, "'b'", b"x" * int(MIB * LARGEST_SHARE))
    assert keep(level, "'b'", b"x" * (int(MIB * LARGEST_SHARE) - 100))
    assert value_of(level, "'a'") == "value"


def test_who_was_asked_for_has_a_second_chance(name: str) -> None:
    """The others leave in the order in which they came."""
    level = SharedLevel(name, MIB)
    for key in range(500):
        keep(level, str(key), b"x" * 900)
    for key in range(0, 500, 50):
        assert level.look(str(key)).found
    for key in range(500, 1300):
        keep(level, str(key), b"x" * 900)
    left = {key for key in range(1300) if level.look(str(key)).found}
    assert {key for key in left if key < 500} == set(range(0, 500, 50))
    assert {key for key in left if key >= 500} == set(range(min(left - set(range(500))), 1300))
    assert len(left) > 600


def test_nothing_old_comes_in_when_what_was_forgotten_has_left(name: str) -> None:
    """The note that a tag was forgotten leaves the queue like all else."""
    level = SharedLevel(name, MIB)
    before = level.look("'a'").as_of
    level.forget_tags(["tag"])
    for key in range(3000):
        keep(level, str(key), b"x" * 900)
    assert not keep(level, "'a'", as_of=before, tags=("tag",))
    assert keep(level, "'a'", as_of=level.look("'a'").as_of, tags=("tag",))


# Other processes.


def test_processes_have_it_in_common(name: str) -> None:
    """What is open passes no fork: each opens its own, and neither disturbs the other."""
    level = SharedLevel(name, MIB)
    keep(level, "'of the parent'")

    def work() -> None:
        assert value_of(level, "'of the parent'") == "value"
        assert keep(level, "'of the child'", {"a": 1})
        level.forget_key("'of the parent'")

    for _ in range(3):
        assert status_of(fork(work)) == 0
        assert value_of(level, "'of the child'") == {"a": 1}
        assert level.look("'of the parent'").found is None
        assert keep(level, "'of the parent'")


def test_a_file_that_others_have_open_is_not_thrown_away(tmp_path: Path) -> None:
    """Though it cannot be read: they would go on with what nobody else finds."""
    path = tmp_path / "level.mdb"
    path.write_bytes(b"rubbish" * 4000)
    with path.with_suffix(".use").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(StoreError, match="cannot be opened"):
            open_store(path, MIB)
        assert path.read_bytes() == b"rubbish" * 4000
    assert open_store(path, MIB).write(lambda tables: 7) == 7


def test_threads_that_write_wait_for_each_other_and_not_for_long(tmp_path: Path) -> None:
    """Who does not get his turn does without, and writes again when it is free."""
    store = open_store(tmp_path / "level.mdb", MIB)
    begun, may_end = threading.Event(), threading.Event()

    def hold(tables: Tables) -> bool:
        begun.set()
        return may_end.wait(10.0)

    holder = threading.Thread(target=store.write, args=(hold,))
    holder.start()
    assert begun.wait(10.0)
    assert store.write(lambda tables: 7) is None
    may_end.set()
    holder.join(10.0)
    assert store.write(lambda tables: 7) == 7


def test_what_does_not_fit_where_nothing_can_leave_is_not_written(tmp_path: Path) -> None:
    """Nor a part of it; what is smaller is."""
    store = open_store(tmp_path / "level.mdb", MIB)

    def put(tables: Tables) -> bool:
        for number in range(20):
            queue.append(tables, b"%16d" % number, 0, b"x" * 100_000)
        return True

    assert store.write(put) is None
    tables = store.begin()
    try:
        assert queue.first(tables) is None
    finally:
        tables.transaction.abort()
    assert store.write(lambda tables: 7) == 7


def test_what_was_noted_of_a_key_is_no_value(tmp_path: Path) -> None:
    """Where it leads to a moment alone, there is nothing to be found."""
    store = open_store(tmp_path / "level.mdb", MIB)
    store.write(lambda tables: queue.set_moment(tables, b"%16d" % 1, 7))
    tables = store.begin()
    try:
        assert queue.moment_of(tables, b"%16d" % 1) == 7
        assert queue.find(tables, b"%16d" % 1) is None
    finally:
        tables.transaction.abort()


def write_for_ever(level: SharedLevel) -> None:
    """Write, look and forget until killed."""
    dice = random.Random(os.getpid())
    while True:
        keep(level, str(dice.randrange(500)), dice.randbytes(dice.randrange(20_000)), tags=("t",))
        level.look(str(dice.randrange(500)))
        if dice.randrange(20) == 0:
            level.forget_tags(["t"])


def test_killed_processes_leave_it_whole(name: str) -> None:
    """Thirty of them, at any moment, four at a time; what they had locked is free."""
    level = SharedLevel(name, MIB)
    dice = random.Random(7)
    running = [fork(lambda: write_for_ever(level)) for _ in range(4)]
    try:
        for _ in range(30):
            time.sleep(dice.uniform(0.005, 0.03))
            pid = running.pop(0)
            os.kill(pid, signal.SIGKILL)
            assert status_of(pid) == -signal.SIGKILL
            running.append(fork(lambda: write_for_ever(level)))
            # Four write all the time: a turn may not come at once.
            await_true(lambda: keep(level, "'mine'", 7), "a turn to write")
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            status_of(pid)
    for key in range(2000):
        assert keep(level, str(key), b"x" * 1000)
        assert value_of(level, str(key)) == b"x" * 1000
    assert file_bytes(level) <= MIB


def test_a_reader_that_was_killed_keeps_no_pages(name: str) -> None:
    """It leaves its place in the table of readers, and the pages that it saw."""
    level = SharedLevel(name, MIB)
    keep(level, "'a'")
    assert level._store is not None
    store = level._store
    ready, told = os.pipe()

    def read() -> None:
        mine = open_store(store.path, store.size_bytes)
        mine.begin()
        os.write(told, b"x")
        signal.pause()

    pid = fork(read)
    try:
        os.read(ready, 1)
    finally:
        os.kill(pid, signal.SIGKILL)
        status_of(pid)
        os.close(ready)
        os.close(told)
    kept = [keep(level, str(key), b"x" * 10_000) for key in range(1000)]
    assert sum(kept) >= 995


@contextmanager
def stopped_while_it_writes(level: SharedLevel) -> Iterator[int]:
    """Have a process that was stopped (as the brake does it) while it had its turn."""

    def write() -> None:
        level.look("'a'")
        assert level._store is not None

        def stop(tables: Tables) -> bool:
            os.kill(os.getpid(), signal.SIGSTOP)
            return True

        level._store.write(stop)

    pid = fork(write)
    try:
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)
        assert status_of(pid) == 0


@forgetting
def test_nobody_waits_for_a_process_that_was_stopped(
    name: str, forget: Callable[[SharedLevel], None]
) -> None:
    """Then nothing is kept; and what is forgotten is not found, by anybody."""
    level, other = SharedLevel(name, MIB), SharedLevel(name, MIB)
    keep(level, "'a'", tags=("tag",))
    before = level.look("'a'").as_of
    with stopped_while_it_writes(level):
        begun = time.monotonic()
        for _ in range(100):
            assert not keep(level, "'b'")
        assert value_of(level, "'a'") == "value"
        forget(level)
        assert other.look("'a'").found is None
        assert time.monotonic() - begun < 2 * TURN_SECONDS + 0.5
    assert other.look("'a'").found is None
    assert not keep(other, "'a'", as_of=before)
    assert keep(other, "'a'", "new")
    assert value_of(level, "'a'") == "new"


# What a process has mapped of it.


def mapped_bytes() -> int:
    """Return what this process has mapped of all levels' files, as the kernel has it."""
    found, is_level = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            is_level = line.endswith(".mdb")
        elif is_level and line.startswith("Rss:"):
            found += int(line.split()[1]) * KIB
    return found


def test_what_is_mapped_is_bounded(name: str) -> None:
    """However much is read: it counts as memory of the process, unlike other file cache."""
    level = SharedLevel(name, 64 * MIB)
    most = 0
    for key in range(6000):
        assert keep(level, str(key), b"%d" % key * 2000)
    for key in range(6000):
        assert value_of(level, str(key)) == b"%d" % key * 2000
        if key % 100 == 0:
            most = max(most, mapped_bytes())
    assert MOST_MAPPED_BYTES / 2 < most <= MOST_MAPPED_BYTES + 2 * LOOK_BYTES
    assert mapped.used_bytes <= MOST_MAPPED_BYTES + LOOK_BYTES


@pytest.mark.parametrize("size_bytes", [KIB, MIB])
def test_what_is_let_go_of_is_found_again(name: str, size_bytes: int) -> None:
    """Written just before, by this process or by another; and in the midst of writing."""
    level = SharedLevel(name, 32 * MIB)

    def write(keys: range) -> None:
        for key in keys:
            assert keep(level, str(key), b"%05d" % key * (size_bytes // 5))
            mapped.shrink(0)

    def write_while_it_lets_go(tables: Tables) -> bool:
        list(tables.transaction.cursor(tables.index))
        mapped.shrink(0)
        mapped._let_go(*level._store.maps[0])  # type: ignore[union-attr]
        return level._contents.forget(tables, NO_TAG, [b"another digest!!"])

    write(range(10))
    assert mapped_bytes() == 0
    assert status_of(fork(lambda: write(range(10, 20)))) == 0
    assert level._store is not None
    tables = level._store.begin()
    mapped._let_go(*level._store.maps[0])
    assert len(list(tables.transaction.cursor(tables.index))) == 20
    tables.transaction.abort()
    assert level._store.write(write_while_it_lets_go)
    for key in range(20):
        assert value_of(level, str(key)) == b"%05d" % key * (size_bytes // 5)
    assert mapped.used_bytes >= mapped_bytes() > 0
    assert mapped.shrink(0) > 0
    assert mapped_bytes() == 0


def test_threads_read_while_it_is_let_go_of(name: str) -> None:
    """What one lets go of, the other maps again."""
    level = SharedLevel(name, 8 * MIB)
    for key in range(200):
        keep(level, str(key), b"%05d" % key * 1000)
    assert level._store is not None
    done = threading.Event()

    def let_go() -> None:
        while not done.is_set():
            mapped._let_go(*level._store.maps[0])  # type: ignore[union-attr]

    thread = threading.Thread(target=let_go)
    thread.start()
    try:
        for key in [*range(200)] * 10:
            assert value_of(level, str(key)) == b"%05d" % key * 1000
            assert keep(level, str(key), b"%05d" % key * 1000)
    finally:
        done.set()
        thread.join()


def test_clearing_lets_go(name: str) -> None:
    """In the process that clears; the others hear of it."""
    level = SharedLevel(name, 8 * MIB)
    for key in range(200):
        keep(level, str(key), b"%d" % key * 1000)
        assert level.look(str(key)).found
    assert mapped_bytes() > 0
    level.clear()
    assert mapped_bytes() == 0


# What goes wrong with files.


def test_a_full_disk_is_a_miss(name: str) -> None:
    """A file that cannot grow is one; what is forgotten stays forgotten."""
    level = SharedLevel(name, 4 * MIB)
    assert keep(level, "'a'", tags=("tag",))

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512 * KIB, 512 * KIB))
        kept = [keep(level, str(key), os.urandom(10_000)) for key in range(200)]
        assert kept[0]
        assert not kept[-1]
        level.forget_tags(["tag"])

    assert status_of(fork(work)) == 0
    assert level.look("'a'").found is None
    assert keep(level, "'a'", "new")
    assert value_of(level, "'a'") == "new"


@pytest.mark.parametrize("content", [b"\0" * 100_000, b"no such file\n" * 1000, b"x"])
def test_a_foreign_file_is_thrown_away(
    name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """With one line."""
    level = SharedLevel(name, MIB)
    keep(level, "'a'")
    assert level._store is not None
    path = level._store.path
    del level
    path.write_bytes(content)

    level = SharedLevel(name, MIB)
    assert level.look("'a'").found is None
    assert keep(level, "'a'", "new")
    assert value_of(level, "'a'") == "new"
    assert [each.message.split(":")[0] for each in caplog.records] == [
        f"{path} is thrown away and made anew"
    ]
