"""Where the control groups of this process are on disk.

``memory_cgroups()`` and ``cpu_cgroups()`` return the process's own group first, then its parents
up to the root of the mount. The way leads through ``/proc/self/cgroup`` (what the group is
called) and ``/proc/self/mountinfo`` (where its hierarchy is mounted, and which part of it); no
path is taken for granted. What a group allows is read by ``limits`` and ``cpu``, what it uses by
``usage``.

Sources: cgroups(7), cgroup_namespaces(7), proc_pid_mountinfo(5), and the kernel's
``admin-guide/cgroup-v1/memory.rst`` and ``admin-guide/cgroup-v2.rst``.

Not covered: a mount made outside this process's cgroup namespace shows its root as ``/../..``,
and the names of the directories between are not to be had. The mount point itself is used then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from tonnage.host.filesystems import Mount, mounts

Version = Literal[1, 2]


@dataclass(frozen=True, slots=True)
class MemoryCgroup:
    """One directory in which the kernel counts memory.

    Attributes:
        version: The hierarchy's version; it decides the names of the files.
        path: The directory on disk.
        name: The group's name as ``/proc/self/cgroup`` gives it, for example ``/kubepods/x``.
    """

    version: Version
    path: Path
    name: str

    @property
    def limit_path(self) -> Path:
        """The file with the hard limit, above which the kernel kills."""
        return self.path / ("memory.max" if self.version == 2 else "memory.limit_in_bytes")

    @property
    def high_path(self) -> Path | None:
        """The file with the mark above which the kernel throttles; version 2 only."""
        return self.path / "memory.high" if self.version == 2 else None

    @property
    def usage_path(self) -> Path:
        """The file with what is charged now, in bytes, page cache included."""
        return self.path / ("memory.current" if self.version == 2 else "memory.usage_in_bytes")

    @property
    def peak_path(self) -> Path:
        """The file with the most that was ever charged; version 2 has it since Linux 5.19."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        return self.path / name

    @property
    def stat_path(self) -> Path:
        """The file that says what the charge consists of."""
        return self.path / "memory.stat"

    @property
    def kills_path(self) -> Path:
        """The file with the ``oom_kill`` counter.

        On version 2 it counts kills in the children too; on version 1 only those of processes
        that are directly in this group.
        """
        return self.path / ("memory.events" if self.version == 2 else "memory.oom_control")


@dataclass(frozen=True, slots=True)
class CpuCgroup:
    """One directory in which the kernel may ration processor time."""

    version: Version
    path: Path
    name: str


def memory_cgroups(root: Path = Path("/")) -> tuple[MemoryCgroup, ...]:
    """Return the groups that memory is charged to: own first, then parents; () when none.

    Where both hierarchies are mounted, version 1 wins if the memory controller is there, since a
    controller is in one hierarchy only. Directories without a counter are left out: the root of
    version 2, and groups for which the controller is off, whose memory a parent is charged for.
    """
    for version in _VERSIONS:
        found = (
            MemoryCgroup(version, place.path, place.name)
            for place in _chain(version, "memory", root)
        )
        counted = tuple(group for group in found if os.path.exists(group.usage_path))
        if counted:
            return counted
    return ()


def cpu_cgroups(root: Path = Path("/")) -> tuple[CpuCgroup, ...]:
    """Return the groups of the cpu controller that can hold a quota: own first, then parents."""
    for version in _VERSIONS:
        quota_file = "cpu.max" if version == 2 else "cpu.cfs_quota_us"
        found = tuple(
            CpuCgroup(version, place.path, place.name)
            for place in _chain(version, "cpu", root)
            if os.path.exists(place.path / quota_file)
        )
        if found:
            return found
    return ()


_VERSIONS: tuple[Version, ...] = (1, 2)


class _Place(NamedTuple):
    path: Path
    name: str


def _chain(version: Version, controller: str, root: Path) -> tuple[_Place, ...]:
    """Return own directory and its parents up to the mount point."""
    hierarchy = _mounts(version, controller, root)
    if not hierarchy:
        return ()
    name = _own_name(version, controller, root)
    # Of several mounts of one hierarchy, the one that shows most of it also shows most parents.
    for mount in sorted(hierarchy, key=lambda mount: len(mount.root.parts)):
        below = _below(name, mount.root)
        if below is not None and os.path.isdir(_on_disk(root, mount.point / below)):
            return tuple(
                _Place(_on_disk(root, mount.point / part), str(mount.root / part))
                for part in (below, *below.parents)
            )
    # The name leads nowhere, as on Cloud Run, or under a namespace that does not fit the mount.
    # Its nearest existing parent could be some other container's, the mount point cannot.
    mount = hierarchy[-1]
    return (_Place(_on_disk(root, mount.point), str(name)),)


def _below(name: PurePosixPath, mount_root: PurePosixPath) -> PurePosixPath | None:
    """Return the way from *mount_root* down to *name*; None if it is not below."""
    parts, above = name.parts, mount_root.parts
    if parts[: len(above)] != above:
        return None
    rest = parts[len(above) :]
    return None if ".." in rest else PurePosixPath(*rest)


def _own_name(version: Version, controller: str, root: Path) -> PurePosixPath:
    """Return the process's own group in one hierarchy; "/" where the kernel does not say."""
    for line in _read_lines(root / "proc/self/cgroup"):
        hierarchy, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if version == 2:
            found = hierarchy == "0" and not controllers
        else:
            found = controller in controllers.split(",")
        if found and name.startswith("/"):
            return PurePosixPath(name)
    return PurePosixPath("/")


def _mounts(version: Version, controller: str, root: Path) -> list[Mount]:
    """Return the mounts of one hierarchy, in the order in which they were made."""
    found: dict[PurePosixPath, Mount] = {}
    for mount in mounts(root / "proc/self/mountinfo"):
        if version == 2:
            wanted = mount.kind == "cgroup2"
        else:
            wanted = mount.kind == "cgroup" and controller in mount.options.split(",")
        if wanted:
            # A later mount at the same point hides the earlier one.
            found[mount.point] = mount
    return list(found.values())


def _on_disk(root: Path, absolute: PurePosixPath) -> Path:
    return root / absolute.relative_to("/")


def _read_lines(path: Path) -> list[str]:
    """Return the file's lines; none where it does not exist or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
