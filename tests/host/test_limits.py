"""Which limit binds, who is named as its source, and what the user is warned of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.host import trees

from tonnage.host import limits
from tonnage.host.limits import Limit
from tonnage.units import GIB, MIB


def no_rlimit() -> int | None:
    """Stand for a process whose address space is not limited."""
    return None


def discover(root: Path, setting_bytes: int | None = None) -> Limit:
    """Return the limit of a fixture machine."""
    return limits.discover_limit(setting_bytes, root=root, rlimit_as_bytes=no_rlimit)


@pytest.mark.parametrize(
    ("build", "source"),
    [
        (trees.v1, "cgroup v1 memory.limit_in_bytes of /app"),
        (trees.v1_docker, "cgroup v1 memory.limit_in_bytes of /docker/0af3"),
        (trees.v2, "cgroup v2 memory.max of /app"),
        (trees.v2_namespaced, "cgroup v2 memory.max of /"),
        (trees.hybrid, "cgroup v1 memory.limit_in_bytes of /box/7f"),
    ],
)
def test_own_groups_limit_is_found(
    tmp_path: Path, build: Callable[[Path, int], Path], source: str
) -> None:
    """Whatever the hierarchy, the figure and the file it comes from are told."""
    own = build(tmp_path, 512 * MIB)

    limit = discover(tmp_path)

    assert limit.bytes == 512 * MIB
    assert limit.kind == "cgroup"
    assert limit.describe() == f"512 MB: {source}; host has 24 GB"
    assert limit.cgroup is not None
    assert limit.cgroup.path == own
    assert limit.own_cgroup == limit.cgroup
    assert limit.warnings == ()


def test_a_tighter_parent_binds(tmp_path: Path) -> None:
    """The pod's limit holds for its containers, and the pod is where usage must be read."""
    own = trees.v2_nested(tmp_path, GIB, parent_limit=256 * MIB)

    limit = discover(tmp_path)

    assert limit.describe() == "256 MB: cgroup v2 memory.max of /kubepods/pod1; host has 24 GB"
    assert limit.cgroup is not None
    assert limit.cgroup.path == own.parent
    assert limit.own_cgroup is not None
    assert limit.own_cgroup.path == own


def test_memory_high_below_memory_max_binds(tmp_path: Path) -> None:
    """Above memory.high the kernel throttles until nothing answers, so it is the limit."""
    trees.v2(tmp_path, 512 * MIB, high=400 * MIB)

    assert discover(tmp_path).describe() == (
        "400 MB: cgroup v2 memory.high of /app; host has 24 GB"
    )


def test_a_parent_that_is_not_mounted_still_binds_on_version_1(tmp_path: Path) -> None:
    """The kernel tells the lowest limit of all parents in memory.stat."""
    own = trees.v1_docker(tmp_path, 512 * MIB)
    trees.v1_group(own, 512 * MIB, hierarchical_memory_limit=128 * MIB)

    limit = discover(tmp_path)

    assert limit.describe() == (
        "128 MB: cgroup v1 hierarchical_memory_limit of /docker/0af3; host has 24 GB"
    )
    assert limit.cgroup is not None
    assert limit.cgroup.path == own


def test_a_visible_parent_is_named_rather_than_the_sum_of_parents(tmp_path: Path) -> None:
    """The parent's usage can be read, and the figure that memory.stat repeats cannot."""
    own = trees.v1(tmp_path, trees.V1_UNLIMITED)
    trees.v1_group(own, hierarchical_memory_limit=300 * MIB)
    trees.v1_group(own.parent, 300 * MIB)

    assert discover(tmp_path).source == "cgroup v1 memory.limit_in_bytes of /"


@pytest.mark.parametrize("build", [trees.v1, trees.v2, trees.v2_namespaced, trees.hybrid])
def test_without_a_group_limit_the_host_binds(
    tmp_path: Path, build: Callable[[Path, object], Path]
) -> None:
    """Version 1 writes "unlimited" as a huge number, version 2 as max."""
    build(tmp_path, "max" if build in (trees.v2, trees.v2_namespaced) else trees.V1_UNLIMITED)

    limit = discover(tmp_path)

    assert (limit.kind, limit.bytes) == ("host", 24 * GIB)
    assert limit.describe() == "24 GB: the host's memory"
    assert limit.own_cgroup is not None
    assert limit.warnings == ()


def test_a_group_limit_above_the_hosts_memory_does_not_bind(tmp_path: Path) -> None:
    """Nobody can use more than there is."""
    trees.v2(tmp_path, 64 * GIB)

    assert discover(tmp_path).kind == "host"


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        ("0", "cgroup v2 memory.max of /app is 0, in which no process can run: ignored"),
        ("-1", "cgroup v2 memory.max of /app holds '-1', which is not a size: ignored"),
        ("", "cgroup v2 memory.max of /app holds '', which is not a size: ignored"),
    ],
)
def test_a_limit_that_makes_no_sense_is_ignored_with_a_warning(
    tmp_path: Path, content: str, warning: str
) -> None:
    """Discovery goes on with what else there is, and does not do so in silence."""
    trees.v2(tmp_path, content)

    limit = discover(tmp_path)

    assert limit.kind == "host"
    assert limit.warnings == (warning,)


def test_a_file_that_cannot_be_read_is_ignored_with_a_warning(tmp_path: Path) -> None:
    """A directory in the file's place is unreadable even for root."""
    own = trees.v2(tmp_path, "max")
    (own / "memory.max").unlink()
    (own / "memory.max").mkdir()

    assert discover(tmp_path).warnings == (
        "cgroup v2 memory.max of /app cannot be read (Is a directory): ignored",
    )


def test_rlimit_as_binds_when_it_is_the_lowest(tmp_path: Path) -> None:
    """Past it malloc fails, whatever the cgroup would still allow."""
    trees.v2(tmp_path, 512 * MIB)

    limit = limits.discover_limit(root=tmp_path, rlimit_as_bytes=lambda: 384 * MIB)

    assert limit.kind == "rlimit"
    assert limit.cgroup is None
    assert limit.describe() == "384 MB: RLIMIT_AS (ulimit -v); host has 24 GB"


def test_a_setting_below_the_kernels_limit_wins(tmp_path: Path) -> None:
    """It is how one shares a container with something else; both figures are told."""
    trees.v1(tmp_path, GIB)

    limit = discover(tmp_path, 512 * MIB)

    assert (limit.kind, limit.bytes, limit.cgroup) == ("setting", 512 * MIB, None)
    assert limit.own_cgroup is not None
    assert limit.describe() == (
        "512 MB: set by --memory; cgroup v1 memory.limit_in_bytes of /app allows 1 GB; "
        "host has 24 GB"
    )
    assert limit.warnings == ()


def test_a_setting_above_the_kernels_limit_loses_with_a_warning(tmp_path: Path) -> None:
    """A wish does not make memory, and the user learns why it was not granted."""
    trees.v2(tmp_path, 512 * MIB)

    limit = limits.discover_limit(GIB, "MAX_MEMORY_MB", root=tmp_path, rlimit_as_bytes=no_rlimit)

    assert (limit.kind, limit.bytes) == ("cgroup", 512 * MIB)
    assert limit.warnings == (
        "MAX_MEMORY_MB asks for 1 GB, but cgroup v2 memory.max of /app allows 512 MB: "
        "512 MB is used",
    )


def test_a_setting_equal_to_the_kernels_limit_leaves_the_kernels(tmp_path: Path) -> None:
    """The kernel's own books are then the ones to read."""
    trees.v2(tmp_path, 512 * MIB)

    limit = discover(tmp_path, 512 * MIB)

    assert limit.kind == "cgroup"
    assert limit.warnings == ()


def test_every_place_asked_is_listed(tmp_path: Path) -> None:
    """The plan shows where it looked, and what was found there."""
    trees.v2_nested(tmp_path, GIB, parent_limit="max")

    limit = discover(tmp_path, 2 * GIB)

    assert [(found.source, found.bytes) for found in limit.candidates] == [
        ("--memory", 2 * GIB),
        ("cgroup v2 memory.max of /kubepods/pod1/app", GIB),
        ("cgroup v2 memory.high of /kubepods/pod1/app", None),
        ("cgroup v2 memory.max of /kubepods/pod1", None),
        ("cgroup v2 memory.high of /kubepods/pod1", None),
        ("cgroup v2 memory.max of /kubepods", None),
        ("cgroup v2 memory.high of /kubepods", None),
        ("RLIMIT_AS (ulimit -v)", None),
        ("the host's memory", 24 * GIB),
    ]


def test_a_limit_that_changes_is_seen_by_the_next_call(tmp_path: Path) -> None:
    """Hosts change limits while the server runs, so nothing is remembered."""
    own = trees.v2(tmp_path, 512 * MIB)
    before = discover(tmp_path)
    trees.write(own / "memory.max", 256 * MIB)

    assert (before.bytes, discover(tmp_path).bytes) == (512 * MIB, 256 * MIB)


@pytest.mark.parametrize("meminfo", [None, "MemFree:  1024 kB"])
def test_without_proc_the_c_library_tells_the_hosts_memory(
    tmp_path: Path, meminfo: str | None
) -> None:
    """So it is on macOS, where the user's setting is then the only other limit."""
    if meminfo is not None:
        trees.write(tmp_path / "proc/meminfo", meminfo)
    limit = discover(tmp_path)

    assert limit.kind == "host"
    assert limit.bytes == limit.host_bytes > 0
    assert discover(tmp_path, 64 * MIB).kind == "setting"
