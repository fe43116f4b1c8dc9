"""Notifications by the real kernel, where this machine offers them; systemd's are next door."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.host.watching import (
    NO_PRESSURE,
    is_quiet,
    limit_of,
    need_host_pressure,
    only,
    reports,
    stand_in,
)
from tests.support.cgroup import MemoryBox, need_cgroup

from tonnage.host.cgroups import MemoryCgroup
from tonnage.host.wakeups import Wakeup, open_wakeups
from tonnage.units import MIB

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's"),
    pytest.mark.cgroup2,
]


# Takes 24 MB at the first line of its input, and gives them back at the second.
GROW = """
import sys
print("ready", flush=True)
sys.stdin.readline()
held = b"x" * (24 * 2**20)
sys.stdin.readline()
del held
sys.stdin.readline()
"""


def close_all(wakeups: list[Wakeup]) -> None:
    """Close what a test opened."""
    for wakeup in wakeups:
        wakeup.close()


@pytest.fixture
def v1_box() -> Iterator[MemoryBox]:
    """Yield a real version 1 cgroup of 64 MB."""
    need_cgroup()
    with MemoryBox(64 * MIB) as box:
        if box.cgroup.version != 1:
            pytest.skip("the memory controller of this machine is on version 2")
        yield box


@pytest.fixture
def v2_directory() -> Iterator[Path]:
    """Yield a real, empty version 2 cgroup; the memory controller need not be in it."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4]) for line in mounts if " - cgroup2 " in line]
    if not points or not os.access(points[0], os.W_OK):
        pytest.skip("no version 2 hierarchy here may be written")
    directory = points[0] / f"tonnage-wakeups-{os.getpid()}"
    try:
        directory.mkdir()
    except OSError as error:
        pytest.skip(f"no child cgroup can be made in {points[0]}: {error.strerror}")
    try:
        yield directory
    finally:
        if directory.exists():
            directory.rmdir()


@contextmanager
def growing(box: MemoryBox) -> Iterator[subprocess.Popen[str]]:
    """Yield a process in the box that grows and shrinks by a line of input each."""
    with subprocess.Popen(
        [sys.executable, "-c", GROW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=box.enter,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child


def tell(child: subprocess.Popen[str]) -> None:
    """Let the child take its next step."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


# Version 1: thresholds.


def test_real_threshold_reports_a_crossing_in_either_direction(v1_box: MemoryBox) -> None:
    """A child that takes 24 MB wakes the watcher, and again when it gives them back."""
    with growing(v1_box) as child:
        mark_bytes = v1_box.usage() + 12 * MIB
        with only(open_wakeups(limit_of(v1_box.cgroup), [mark_bytes], NO_PRESSURE)) as wakeup:
            assert is_quiet(wakeup)
            for _ in ("up", "down"):
                tell(child)
                assert reports(wakeup)
                assert wakeup.drain()
        tell(child)


def test_real_threshold_is_quiet_once_drained(v1_box: MemoryBox) -> None:
    """While usage stays above the mark there is nothing to report, so nothing spins."""
    with growing(v1_box) as child:
        mark_bytes = v1_box.usage() + 12 * MIB
        with only(open_wakeups(limit_of(v1_box.cgroup), [mark_bytes], NO_PRESSURE)) as wakeup:
            tell(child)
            assert reports(wakeup)
            # Usage is counted in batches, so one rise may cross the mark more than once.
            reported = sum(wakeup.drain() for _ in range(100) if not is_quiet(wakeup))
            assert 1 <= reported < 100
            assert wakeup.drain()
        tell(child)
        tell(child)


def test_real_thresholds_each_watch_their_mark(v1_box: MemoryBox) -> None:
    """Marks that usage has not reached stay quiet; a mark given twice is watched once."""
    with growing(v1_box) as child:
        base_bytes = v1_box.usage()
        marks = [base_bytes + 34 * MIB, base_bytes + 10 * MIB, base_bytes + 10 * MIB]
        (lower, upper), _ = open_wakeups(limit_of(v1_box.cgroup), marks, NO_PRESSURE)
        tell(child)
        assert reports(lower)
        assert is_quiet(upper)
        close_all([lower, upper])
        tell(child)
        tell(child)


def test_real_threshold_of_a_removed_group_says_that_it_is_gone() -> None:
    """The kernel reports the end as if a mark were crossed; draining tells the difference."""
    need_cgroup()
    with MemoryBox(64 * MIB) as box:
        if box.cgroup.version != 1:
            pytest.skip("the memory controller of this machine is on version 2")
        (wakeup,), _ = open_wakeups(limit_of(box.cgroup), [32 * MIB], NO_PRESSURE)

    assert reports(wakeup)
    assert not wakeup.drain()
    wakeup.close()


def test_threshold_that_cannot_be_armed_is_named_once(tmp_path: Path) -> None:
    """Without ``cgroup.event_control`` no mark can be watched, and no such file is made."""
    usage = tmp_path / "memory.usage_in_bytes"
    usage.write_text("1\n")
    group = MemoryCgroup(1, tmp_path, "/app")

    found, missing = open_wakeups(limit_of(group), [32 * MIB, 48 * MIB], NO_PRESSURE)

    assert found == []
    assert missing[0] == "cgroup v1 threshold at 32 MB: No such file or directory"
    assert len(missing) == 2  # the other is about pressure
    assert list(tmp_path.iterdir()) == [usage]


def test_limit_that_no_group_sets_has_no_thresholds() -> None:
    """What is charged to a group is not what the marks of ``--memory`` are about."""
    found, missing = open_wakeups(limit_of(None), [32 * MIB], NO_PRESSURE)

    assert found == []
    assert missing[0] == "cgroup notifications: none, since the limit is not a cgroup's"


# Version 2: memory.events. Where the memory controller is on version 1, cgroup.events stands in:
# the kernel reports both by the same means.


def test_real_events_file_reports_changes_and_does_not_spin(
    v2_directory: Path, tmp_path: Path
) -> None:
    """Unread, such a file reports an error and an event for ever; each drain ends that."""
    group = stand_in(tmp_path, memory_events=v2_directory / "cgroup.events")
    with only(open_wakeups(limit_of(group), [32 * MIB], NO_PRESSURE)) as wakeup:
        assert wakeup.name == "cgroup v2 memory.events"
        assert is_quiet(wakeup)
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
            (v2_directory / "cgroup.procs").write_text(str(child.pid))
            assert reports(wakeup)
            assert wakeup.drain()
            assert is_quiet(wakeup)
        assert reports(wakeup)  # the child has ended
        assert wakeup.drain()


def test_real_events_file_of_a_removed_group_says_that_it_is_gone(
    v2_directory: Path, tmp_path: Path
) -> None:
    """It reports for ever from then on, so draining must say that it is to be dropped."""
    group = stand_in(tmp_path, memory_events=v2_directory / "cgroup.events")
    with only(open_wakeups(limit_of(group), [], NO_PRESSURE)) as wakeup:
        v2_directory.rmdir()
        assert reports(wakeup)
        assert not wakeup.drain()


def test_real_v2_limit_that_is_hit_is_reported() -> None:
    """Lowered under what is used, the limit makes the kernel reclaim, and ``max`` rise."""
    need_cgroup()
    with MemoryBox(64 * MIB) as box:
        if box.cgroup.version != 2:
            pytest.skip("the memory controller of this machine is on version 1")
        with only(open_wakeups(limit_of(box.cgroup), [], NO_PRESSURE)) as wakeup, growing(box):
            box.set_limit(1 * MIB)
            assert reports(wakeup)
            assert wakeup.drain()


# Pressure.


def test_real_pressure_of_the_host_is_watched_and_does_not_spin() -> None:
    """The trigger is accepted without privileges, and is not an error for ever."""
    need_host_pressure()
    with only(open_wakeups(limit_of(None), [], {})) as wakeup:
        assert wakeup.name == "/proc/pressure/memory"
        assert wakeup.events == select.EPOLLPRI
        assert wakeup.drain()
        with select.epoll() as epoll:
            epoll.register(wakeup, wakeup.events)
            epoll.poll(0)  # the host may really be under pressure, but only once in 2 s
            assert epoll.poll(0) == []


def test_real_pressure_of_a_group_says_when_it_is_gone(v2_directory: Path, tmp_path: Path) -> None:
    """A group's own pressure comes before the host's; with the group, the trigger ends."""
    pressure = v2_directory / "memory.pressure"
    if not pressure.exists():
        pytest.skip("this kernel does not measure the pressure of groups")
    found, missing = open_wakeups(limit_of(stand_in(tmp_path, memory_pressure=pressure)), [], {})
    with only((found, missing)) as wakeup:
        assert wakeup.name == "memory.pressure of /app"
        assert wakeup.drain()
        assert is_quiet(wakeup)
        v2_directory.rmdir()
        assert reports(wakeup)
        assert not wakeup.drain()


def test_pressure_file_that_cannot_be_opened_leads_to_the_host(tmp_path: Path) -> None:
    """A container's own file is often read-only: then the host's is tried, and both are named."""
    found, missing = open_wakeups(limit_of(stand_in(tmp_path)), [], {}, root=tmp_path / "none")

    assert found == []
    assert missing == [
        "cgroup v2 memory.events: No such file or directory",
        "memory.pressure of /app: No such file or directory",
        "/proc/pressure/memory: No such file or directory",
    ]


# All of them.


def test_other_systems_have_none() -> None:
    """Elsewhere the server looks at intervals, and says so."""
    found = open_wakeups(limit_of(None), [32 * MIB], {}, platform="darwin")

    assert found == ([], ["kernel notifications: none on darwin"])


def test_closed_wakeups_leave_no_descriptor(v1_box: MemoryBox, tmp_path: Path) -> None:
    """Closing twice is harmless, failed attempts give back theirs, and a closed one is gone."""
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/proc/self/fd"))

    opened, _ = open_wakeups(
        limit_of(v1_box.cgroup), [32 * MIB], {"MEMORY_PRESSURE_WATCH": str(tmp_path / "fifo")}
    )
    open_wakeups(
        limit_of(stand_in(tmp_path)), [], {"MEMORY_PRESSURE_WATCH": str(tmp_path)}, root=tmp_path
    )
    for wakeup in (*opened, *opened):
        wakeup.close()
        assert wakeup.fileno() == -1
        assert not wakeup.drain()

    assert len(opened) == 2
    assert len(os.listdir("/proc/self/fd")) == before
