"""Which directories are found, from what /proc/self/cgroup and mountinfo say."""

from __future__ import annotations

from pathlib import Path

from tests.host import trees

from tonnage.host.cgroups import memory_cgroups


def test_own_group_comes_first_then_its_parents_to_the_mount(tmp_path: Path) -> None:
    """A limit can be set on any level, so every level is looked at, the nearest first."""
    trees.v1(tmp_path, 1)

    groups = memory_cgroups(tmp_path)

    mount = tmp_path / "sys/fs/cgroup/memory"
    assert [(group.path, group.name) for group in groups] == [(mount / "app", "/app"), (mount, "/")]
    assert groups[0].version == 1


def test_a_mount_of_the_containers_own_group_is_the_mount_point(tmp_path: Path) -> None:
    """Docker on version 1 mounts the container's group, so its name is not below the mount."""
    own = trees.v1_docker(tmp_path, 1)

    groups = memory_cgroups(tmp_path)

    assert [(group.path, group.name) for group in groups] == [(own, "/docker/0af3")]


def test_a_group_below_the_containers_own_has_it_as_parent(tmp_path: Path) -> None:
    """What the mount hides is left out of the way down, but stays in the name."""
    own = trees.v1_docker(tmp_path, 1)
    trees.v1_group(own / "job")
    trees.write(tmp_path / "proc/self/cgroup", "4:memory:/docker/0af3/job")

    groups = memory_cgroups(tmp_path)

    assert [group.path for group in groups] == [own / "job", own]
    assert groups[0].name == "/docker/0af3/job"


def test_the_real_root_of_version_2_is_left_out(tmp_path: Path) -> None:
    """It has no counter of memory, so there is nothing to read."""
    own = trees.v2(tmp_path, "max")

    groups = memory_cgroups(tmp_path)

    assert [group.path for group in groups] == [own]
    assert groups[0].version == 2


def test_a_namespaced_root_counts(tmp_path: Path) -> None:
    """Inside a cgroup namespace the container's own group is called "/" and does have counters."""
    own = trees.v2_namespaced(tmp_path, 1)

    assert [(group.path, group.name) for group in memory_cgroups(tmp_path)] == [(own, "/")]


def test_memory_on_version_1_wins_over_an_empty_version_2(tmp_path: Path) -> None:
    """On a hybrid host the controller is in one hierarchy only, and the other counts nothing."""
    own = trees.hybrid(tmp_path, 1)

    groups = memory_cgroups(tmp_path)

    assert [group.name for group in groups] == ["/box/7f", "/box", "/"]
    assert groups[0].path == own


def test_version_2_is_used_where_the_mounted_version_1_has_no_memory(tmp_path: Path) -> None:
    """Other controllers on version 1 do not matter."""
    trees.host(
        tmp_path,
        "2:cpu:/\n0::/app\n",
        trees.v1_mount(point="/sys/fs/cgroup/cpu", controllers="cpu") + trees.v2_mount(),
    )
    own = trees.v2_group(tmp_path / "sys/fs/cgroup/app")

    assert [group.path for group in memory_cgroups(tmp_path)] == [own]


def test_a_group_that_is_not_there_falls_back_to_the_mount_point(tmp_path: Path) -> None:
    """Some hosts name a group that the container cannot see; the mount is then its own."""
    trees.host(tmp_path, "4:memory:/run/instance-5\n", trees.v1_mount())
    own = trees.v1_group(tmp_path / "sys/fs/cgroup/memory", 1)
    # An inner container's group must not be taken for the way to our own.
    trees.v1_group(own / "run", 2)

    assert [group.path for group in memory_cgroups(tmp_path)] == [own]


def test_a_mount_from_outside_the_namespace_falls_back_to_the_mount_point(tmp_path: Path) -> None:
    """Its root reads /../.., and the directories between have names that cannot be known."""
    trees.host(tmp_path, "0::/\n", trees.v2_mount("/../.."))
    own = trees.v2_group(tmp_path / "sys/fs/cgroup")

    assert [group.path for group in memory_cgroups(tmp_path)] == [own]


def test_a_process_outside_its_namespace_is_found_below_a_mount_as_far_out(tmp_path: Path) -> None:
    """Both names then begin with the same /.., and what follows is the way down."""
    trees.host(tmp_path, "0::/../other\n", trees.v2_mount("/.."))
    own = trees.v2_group(tmp_path / "sys/fs/cgroup/other")

    assert [group.path for group in memory_cgroups(tmp_path)] == [own]


def test_a_group_without_the_memory_controller_leads_to_the_parent_that_is_charged(
    tmp_path: Path,
) -> None:
    """Version 2 charges the nearest parent for which the controller is on."""
    trees.host(tmp_path, "0::/app/leaf\n", trees.v2_mount())
    charged = trees.v2_group(tmp_path / "sys/fs/cgroup/app")
    (charged / "leaf").mkdir()

    assert [group.path for group in memory_cgroups(tmp_path)] == [charged]


def test_escaped_spaces_in_a_mount_point_are_understood(tmp_path: Path) -> None:
    r"""The kernel writes a space as \040, since spaces part the fields."""
    trees.host(tmp_path, "4:memory:/\n", trees.v1_mount(point=r"/sys/my\040groups"))
    own = trees.v1_group(tmp_path / "sys/my groups")

    assert [group.path for group in memory_cgroups(tmp_path)] == [own]


def test_of_two_mounts_the_one_that_shows_more_parents_is_used(tmp_path: Path) -> None:
    """A limit on a parent can only be found where the parent can be seen."""
    trees.host(
        tmp_path,
        "0::/pod/app\n",
        trees.v2_mount("/pod/app", "/mnt/own") + trees.v2_mount("/", "/mnt/all"),
    )
    trees.v2_group(tmp_path / "mnt/own")
    own = trees.v2_group(tmp_path / "mnt/all/pod/app")
    trees.v2_group(tmp_path / "mnt/all/pod")

    assert [group.path for group in memory_cgroups(tmp_path)] == [own, own.parent]


def test_there_are_none_where_nothing_is_mounted(tmp_path: Path) -> None:
    """A process may be in a group that it has no way to read."""
    trees.host(tmp_path, "4:memory:/app\n0::/app\n", "garbage\n22 1 0:21 / /proc rw - proc proc rw")

    assert memory_cgroups(tmp_path) == ()


def test_there_are_none_where_there_is_no_proc(tmp_path: Path) -> None:
    """As on macOS."""
    assert memory_cgroups(tmp_path) == ()
