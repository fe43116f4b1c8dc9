"""How many processors are counted, from affinity and quotas."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.host import trees

from tonnage.host.cpu import Cpus, discover_cpus


def eight() -> int:
    """Stand for a process that may run on eight processors."""
    return 8


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    """The host may have more, but not for this process."""
    assert discover_cpus(tmp_path, eight) == Cpus(8.0, "cpu affinity")


@pytest.mark.parametrize(
    ("text", "count", "source"),
    [
        ("50000 100000", 0.5, "cgroup v2 cpu.max of /app"),
        ("250000 100000", 2.5, "cgroup v2 cpu.max of /app"),
        ("1600000 100000", 8.0, "cpu affinity"),
        ("max 100000", 8.0, "cpu affinity"),
        ("0 100000", 8.0, "cpu affinity"),
        ("nonsense", 8.0, "cpu affinity"),
    ],
)
def test_a_quota_on_version_2_counts_when_it_is_lower(
    tmp_path: Path, text: str, count: float, source: str
) -> None:
    """What is not a quota, or makes no sense, leaves the affinity."""
    trees.write(trees.v2(tmp_path, "max") / "cpu.max", text)

    assert discover_cpus(tmp_path, eight) == Cpus(count, source)


def test_the_lowest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    """A pod's quota holds for all its containers together."""
    own = trees.v2_nested(tmp_path, "max", "max")
    trees.write(own / "cpu.max", "400000 100000")
    trees.write(own.parent / "cpu.max", "150000 100000")

    assert discover_cpus(tmp_path, eight) == Cpus(1.5, "cgroup v2 cpu.max of /kubepods/pod1")


@pytest.mark.parametrize(("quota", "count"), [("150000", 1.5), ("-1", 8.0)])
def test_a_quota_on_version_1_is_found_beside_other_controllers(
    tmp_path: Path, quota: str, count: float
) -> None:
    """There the cpu controller often shares its directory with cpuacct."""
    mount = trees.v1_mount("/docker/0af3", "/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct")
    trees.host(tmp_path, "3:cpu,cpuacct:/docker/0af3\n0::/\n", mount)
    trees.write(tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", quota)
    trees.write(tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")

    assert discover_cpus(tmp_path, eight).count == count


@pytest.mark.parametrize(("count", "whole"), [(0.1, 1), (1.0, 1), (2.5, 2), (8.0, 8)])
def test_whole_processors_are_rounded_down_but_never_to_none(count: float, whole: int) -> None:
    """A worker that only takes turns costs its memory all the same."""
    assert Cpus(count, "test").whole == whole


def test_the_real_machine_has_at_least_one() -> None:
    """The defaults lead to the machine the tests run on."""
    assert discover_cpus().count > 0
