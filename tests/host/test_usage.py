"""What the meters make of the kernel's figures; the real kernel's are in test_real_cgroup."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.host import trees
from tests.support.clock import Clock

from tonnage.host import usage
from tonnage.host.cgroups import MemoryCgroup, memory_cgroups
from tonnage.host.counters import MeterError
from tonnage.host.limits import discover_limit
from tonnage.host.measures import HOST_IN_USE, OWN_PSS, WORKING_SET
from tonnage.host.processes import PAGE_BYTES
from tonnage.host.usage import CgroupMeter, HostMeter, TreeMeter, Usage
from tonnage.units import GIB, MIB


def open_below(directory: Path) -> list[Path]:
    """Return the files below *directory* that this process has open.

    Others come and go meanwhile, as when the collector closes what an earlier test left.
    """
    entries = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    # The descriptor of the listing itself is gone by now.
    paths = [entry.readlink() for entry in entries if entry.is_symlink()]
    return [path for path in paths if path.is_relative_to(directory)]


# Half a gigabyte charged, of which 200 MB are file cache that nobody maps or has written to.
V2_STAT = {
    "file": 240 * MIB,
    "file_mapped": 15 * MIB,
    "file_dirty": 20 * MIB,
    "file_writeback": 5 * MIB,
    "inactive_file": 100 * MIB,
    "active_file": 140 * MIB,
    "workingset_refault_file": 1000,
}
V1_STAT = {
    "inactive_file": 1,
    "active_file": 1,
    "total_mapped_file": 15 * MIB,
    "total_dirty": 20 * MIB,
    "total_writeback": 5 * MIB,
    "total_inactive_file": 100 * MIB,
    "total_active_file": 140 * MIB,
    "total_workingset_refault_file": 1000,
}


def v2_group(root: Path) -> MemoryCgroup:
    """Return a group of version 2 that is charged 512 MB."""
    trees.v2_group(trees.v2(root, GIB), GIB, usage=512 * MIB, **V2_STAT)
    return memory_cgroups(root)[0]


def test_reclaimable_file_cache_is_not_used_memory(tmp_path: Path) -> None:
    """On version 2 dirty pages and those under way to the disk are; more in test_filecache."""
    meter = CgroupMeter(v2_group(tmp_path))

    assert meter.read() == Usage(
        used_bytes=312 * MIB,
        raw_bytes=512 * MIB,
        cache_bytes=200 * MIB,
        kills=0,
        how="cgroup working set",
    )
    meter.close()


def test_version_1_figures_include_the_groups_below(tmp_path: Path) -> None:
    """Usage does include them, so the cache must as well: the total figures count."""
    trees.v1_group(trees.v1(tmp_path, GIB), GIB, usage=512 * MIB, **V1_STAT)
    meter = CgroupMeter(memory_cgroups(tmp_path)[0], root=tmp_path)

    assert meter.read().used_bytes == (512 - 240 + 15) * MIB
    meter.close()


def test_used_never_goes_below_zero(tmp_path: Path) -> None:
    """The kernel counts in batches, so the cache can for a moment be more than the whole."""
    group = v2_group(tmp_path)
    trees.write(group.usage_path, 50 * MIB)
    meter = CgroupMeter(group)

    reading = meter.read()

    assert (reading.used_bytes, reading.cache_bytes) == (0, 50 * MIB)
    meter.close()


def test_the_charge_is_read_always_and_the_stat_seldom(tmp_path: Path) -> None:
    """The stat is dear; within its interval the cache is taken to be what it was."""
    group, clock = v2_group(tmp_path), Clock()
    meter = CgroupMeter(group, clock, stat_every_seconds=0.5)
    meter.read()
    trees.v2_group(group.path, usage=519 * MIB, **(V2_STAT | {"inactive_file": 50 * MIB}))

    clock.seconds += 0.25
    assert meter.read().used_bytes == 319 * MIB
    clock.seconds += 0.25
    assert meter.read().used_bytes == 369 * MIB
    meter.close()


def test_what_is_charged_in_addition_may_be_cache(tmp_path: Path) -> None:
    """A file is written at gigabytes a second, which must not look like memory that is used."""
    group, clock = v2_group(tmp_path), Clock()
    meter = CgroupMeter(group, clock, stat_every_seconds=0.5)
    meter.read()
    trees.v2_group(group.path, usage=700 * MIB, **(V2_STAT | {"inactive_file": 288 * MIB}))

    clock.seconds += 0.001

    assert meter.read().used_bytes == 312 * MIB
    meter.close()


def test_a_meter_can_be_told_to_read_everything_anew(tmp_path: Path) -> None:
    """For a decision that must not rest on what was a tenth of a second ago."""
    group = v2_group(tmp_path)
    meter = CgroupMeter(group, Clock())
    meter.read()
    trees.v2_group(group.path, usage=512 * MIB, **(V2_STAT | {"inactive_file": 0}))

    before = meter.read().used_bytes
    meter.refresh()

    assert (before, meter.read().used_bytes) == (312 * MIB, 412 * MIB)
    meter.close()


def test_near_the_limit_the_stat_is_read_more_often(tmp_path: Path) -> None:
    """There the kernel drops cache while the charge stands still, and an old stat hides that."""
    group, clock = v2_group(tmp_path), Clock()
    meter = CgroupMeter(group, clock, stat_every_seconds=0.1, limit_bytes=512 * MIB)
    meter.read()
    trees.v2_group(group.path, usage=512 * MIB, **(V2_STAT | {"inactive_file": 0}))

    clock.seconds += 0.011

    assert meter.read().used_bytes == 412 * MIB
    meter.close()


def test_kills_are_counted_where_our_processes_are(tmp_path: Path) -> None:
    """A parent's limit can bind while version 1 counts the kill in the victim's own group."""
    own = trees.v1(tmp_path, trees.V1_UNLIMITED)
    trees.v1_group(own.parent, GIB)
    limit = discover_limit(root=tmp_path, rlimit_as_bytes=lambda: None)
    meter = usage.meter_for(limit, list, tmp_path)
    trees.write(own / "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3")

    assert meter.read().kills == 3
    meter.close()


def test_a_kernel_without_the_counter_has_no_kills(tmp_path: Path) -> None:
    """Before Linux 4.13 the file has no such line, and the meter does without."""
    group = v2_group(tmp_path)
    group.kills_path.unlink()
    meter = CgroupMeter(group)

    assert meter.read().kills == 0
    meter.close()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("memory.current", "much", "memory.current holds b'much\\n' instead of a size"),
        ("memory.stat", "anon much", "memory.stat holds something else than figures"),
    ],
)
def test_figures_without_sense_blind_the_meter(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    """The governor must learn that it does not know, rather than be given some number."""
    group = v2_group(tmp_path)
    trees.write(group.path / name, text)
    meter = CgroupMeter(group)

    with pytest.raises(MeterError) as caught:
        meter.read()
    assert message in str(caught.value)
    meter.close()


@pytest.mark.parametrize("name", ["memory.current", "memory.stat"])
def test_a_meter_without_its_files_cannot_be_made(tmp_path: Path, name: str) -> None:
    """And what was opened before is closed again."""
    group = v2_group(tmp_path)
    (group.path / name).unlink()

    with pytest.raises(MeterError, match=f"{name} cannot be opened: No such file"):
        CgroupMeter(group)
    assert not open_below(tmp_path)


def test_a_closed_meter_is_blind(tmp_path: Path) -> None:
    """It says so, and closing it again is harmless."""
    meter = CgroupMeter(v2_group(tmp_path))
    meter.close()
    meter.close()

    with pytest.raises(MeterError, match="cannot be read: Bad file descriptor"):
        meter.read()


def test_shares_of_the_tree_are_added_up(tmp_path: Path) -> None:
    """Each page that several share is in the sum once."""
    trees.process(tmp_path, 7, pss_bytes=30 * MIB, resident_pages=20_000)
    trees.process(tmp_path, 8, pss_bytes=10 * MIB, resident_pages=20_000)
    meter = TreeMeter(lambda: [7, 8], root=tmp_path)

    reading = meter.read()

    assert reading == Usage(40 * MIB, 40 * MIB, 0, 0, "PSS of our processes")
    meter.close()


def test_between_roll_ups_a_share_moves_with_private_memory(tmp_path: Path) -> None:
    """Growth is seen at once, and file pages that come and go are not growth."""
    trees.process(tmp_path, 7, pss_bytes=30 * MIB, resident_pages=5000, shared_pages=1000)
    meter = TreeMeter(lambda: [7], Clock(), root=tmp_path)
    meter.read()

    trees.process(tmp_path, 7, pss_bytes=1, resident_pages=7000, shared_pages=2000)
    assert meter.read().used_bytes == 30 * MIB + 1000 * PAGE_BYTES

    trees.process(tmp_path, 7, pss_bytes=1, resident_pages=1, shared_pages=1)
    assert meter.read().used_bytes == 30 * MIB - 4000 * PAGE_BYTES
    meter.close()


def test_roll_ups_are_repeated_one_at_a_time(tmp_path: Path) -> None:
    """They are slow, so a reading does at most one, and the next comes a quarter second later."""
    pids, clock = [7, 8], Clock()
    for pid in pids:
        trees.process(tmp_path, pid, pss_bytes=10 * MIB)
    meter = TreeMeter(lambda: pids, clock, rollup_every_seconds=10, root=tmp_path)
    meter.read()
    # Both are old by now, and were looked at a quarter second after each other.
    for wait_seconds in (20, 0.25):
        clock.seconds += wait_seconds
        meter.read()
    for pid in pids:
        trees.process(tmp_path, pid, pss_bytes=15 * MIB)

    readings = []
    for wait_seconds in (9.5, 0.25, 0.125, 0.125):
        clock.seconds += wait_seconds
        readings.append(meter.read().used_bytes // MIB)

    assert readings == [20, 25, 25, 30]
    meter.close()


def test_a_new_process_counts_at_once_and_makes_the_others_due(tmp_path: Path) -> None:
    """A fork halves its parent's share of what both have; both changes belong together."""
    pids, clock = [7], Clock()
    trees.process(tmp_path, 7, pss_bytes=40 * MIB)
    meter = TreeMeter(lambda: pids, clock, root=tmp_path)
    clock.seconds += 1
    meter.read()

    pids.append(8)
    trees.process(tmp_path, 7, pss_bytes=20 * MIB)
    trees.process(tmp_path, 8, pss_bytes=20 * MIB)
    clock.seconds += 1

    assert meter.read().used_bytes == 40 * MIB
    meter.close()


def test_a_fork_is_no_growth(tmp_path: Path) -> None:
    """Its parent's share is read anew with its own: else what both have would count twice."""
    pids, clock = [6, 7], Clock()
    trees.process(tmp_path, 6, pss_bytes=10 * MIB)
    trees.process(tmp_path, 7, pss_bytes=80 * MIB)
    meter = TreeMeter(lambda: pids, clock, root=tmp_path)
    readings = [meter.read().used_bytes // MIB]
    for count, pid in enumerate((8, 9), start=2):
        pids.append(pid)
        trees.process(tmp_path, 7, pss_bytes=80 * MIB // count)
        trees.process(tmp_path, pid, pss_bytes=80 * MIB // count, parent=7)
        clock.seconds += 0.02
        readings.append(meter.read().used_bytes // MIB)

    # What the first child's share has lost to the second is seen a little later.
    assert readings == [90, 90, 103]
    meter.close()


def test_what_a_young_process_copies_is_soon_seen(tmp_path: Path) -> None:
    """Rolled up as it was forked it shares nearly all; statm does not tell what it then copies."""
    pids, clock = [7], Clock()
    trees.process(tmp_path, 7, pss_bytes=40 * MIB)
    meter = TreeMeter(lambda: pids, clock, root=tmp_path)
    for _ in range(2):
        clock.seconds += 100
        meter.read()
    pids.append(8)
    trees.process(tmp_path, 8, pss_bytes=1 * MIB, parent=7)
    readings = [meter.read().used_bytes // MIB]

    # Its share is another each time that it is looked at.
    for wait_seconds, pss in ((0.25, 5), (0.25, 10), (0.25, 15), (0.25, 20), (1, 25), (1, 30)):
        trees.process(tmp_path, 8, pss_bytes=pss * MIB, parent=7)
        clock.seconds += wait_seconds
        readings.append(meter.read().used_bytes // MIB)

    assert readings == [41, 41, 50, 50, 60, 65, 65]
    meter.close()


def test_a_process_that_ended_is_dropped(tmp_path: Path) -> None:
    """Whether its id is listed no more, or still is; its open file is given back."""
    pids = [7, 8, 9]
    for pid in pids:
        trees.process(tmp_path, pid, pss_bytes=10 * MIB)
    meter = TreeMeter(lambda: pids, Clock(), root=tmp_path)
    assert meter.read().used_bytes == 30 * MIB
    assert len(open_below(tmp_path)) == 3

    pids.remove(9)
    trees.write(tmp_path / "proc/8/statm", "0 0 0 0 0 0 0")

    assert meter.read().used_bytes == 10 * MIB
    assert len(open_below(tmp_path)) == 1
    meter.close()
    assert not open_below(tmp_path)


def test_a_tree_of_nobody_is_blindness_not_zero(tmp_path: Path) -> None:
    """Zero would read as all being well."""
    meter = TreeMeter(lambda: [7], root=tmp_path)

    with pytest.raises(MeterError, match="none of them is there"):
        meter.read()


def test_the_hosts_used_memory_is_what_is_not_available(tmp_path: Path) -> None:
    """The kernel's own estimate leaves the cache out."""
    trees.meminfo(tmp_path, total_bytes=8 * GIB, available_bytes=6 * GIB)
    meter = HostMeter(tmp_path)

    assert meter.read() == Usage(2 * GIB, 5 * GIB, 3 * GIB, 0, "host MemTotal - MemAvailable")
    meter.close()


def test_a_host_that_does_not_tell_blinds_the_meter(tmp_path: Path) -> None:
    """MemAvailable is missing before Linux 3.14, the whole file outside Linux."""
    with pytest.raises(MeterError, match="cannot be opened"):
        HostMeter(tmp_path)

    trees.write(tmp_path / "proc/meminfo", "MemTotal: 1024 kB")
    meter = HostMeter(tmp_path)
    with pytest.raises(MeterError, match="does not give MemAvailable"):
        meter.read()
    meter.close()


@pytest.mark.parametrize(
    ("limit_bytes", "setting_bytes", "rlimit_bytes", "how"),
    [
        (GIB, None, None, WORKING_SET),
        (GIB, 512 * MIB, None, OWN_PSS),
        (GIB, None, 512 * MIB, OWN_PSS),
        ("max", None, None, HOST_IN_USE),
    ],
)
def test_the_meter_fits_the_limit(
    tmp_path: Path,
    limit_bytes: int | str,
    setting_bytes: int | None,
    rlimit_bytes: int | None,
    how: str,
) -> None:
    """What the kernel counts is read from it; what concerns us alone is summed over us."""
    trees.v2(tmp_path, limit_bytes)
    trees.process(tmp_path, 7, pss_bytes=MIB)
    limit = discover_limit(setting_bytes, root=tmp_path, rlimit_as_bytes=lambda: rlimit_bytes)

    meter = usage.meter_for(limit, lambda: [7], tmp_path)

    assert meter.read().how == how
    meter.close()
