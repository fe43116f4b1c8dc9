"""Directories of plain files that stand for machines: what /proc and /sys would say there.

Each builder writes one machine below *root* and returns the directory of the process's own memory
group, so that a test can change a figure in it. ``write`` adds or replaces single files.
"""

from __future__ import annotations

from pathlib import Path

V1_UNLIMITED = 9223372036854771712
GIB = 2**30

V1_MOUNT = "/sys/fs/cgroup/memory"
V2_MOUNT = "/sys/fs/cgroup"


def write(path: Path, text: object) -> Path:
    """Write one file and the directories above it; kernel files end with a newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
    return path


def host(
    root: Path,
    cgroup: str = "",
    mountinfo: str = "",
    total_bytes: int = 24 * GIB,
    available_bytes: int = 20 * GIB,
) -> None:
    """Write /proc: the memory of the host, the groups of the process and where they are mounted."""
    write(root / "proc/self/cgroup", cgroup)
    write(root / "proc/self/mountinfo", mountinfo)
    meminfo(root, total_bytes, available_bytes)


def meminfo(root: Path, total_bytes: int, available_bytes: int) -> None:
    """Write /proc/meminfo; what is free is half of what is available."""
    write(
        root / "proc/meminfo",
        f"MemTotal:       {total_bytes // 1024} kB\n"
        f"MemFree:        {available_bytes // 2048} kB\n"
        f"MemAvailable:   {available_bytes // 1024} kB\n"
        "Buffers:            1024 kB",
    )


def v1_mount(mount_root: str = "/", point: str = V1_MOUNT, controllers: str = "memory") -> str:
    """Return the line of mountinfo for a version 1 hierarchy."""
    return f"35 31 0:32 {mount_root} {point} rw,relatime - cgroup cgroup rw,{controllers}\n"


def v2_mount(mount_root: str = "/", point: str = V2_MOUNT) -> str:
    """Return the line of mountinfo for the version 2 hierarchy."""
    return f"41 31 0:38 {mount_root} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def v1_group(path: Path, limit: object = V1_UNLIMITED, usage: int = 0, **stat: int) -> Path:
    """Write one memory group of version 1; *stat* gives figures of memory.stat."""
    write(path / "memory.limit_in_bytes", limit)
    write(path / "memory.usage_in_bytes", usage)
    figures = {"hierarchical_memory_limit": V1_UNLIMITED} | stat
    write(path / "memory.stat", "\n".join(f"{key} {figures[key]}" for key in figures))
    write(path / "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0")
    return path


def v2_group(
    path: Path, limit: object = "max", high: object = "max", usage: int = 0, **stat: int
) -> Path:
    """Write one memory group of version 2; *stat* gives figures of memory.stat."""
    write(path / "memory.max", limit)
    write(path / "memory.high", high)
    write(path / "memory.current", usage)
    write(path / "memory.stat", "\n".join(f"{key} {stat[key]}" for key in stat))
    write(path / "memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 0\noom_group_kill 0")
    return path


def v1(root: Path, limit: object) -> Path:
    """A host with memory on version 1, the process in /app below an unlimited root."""
    host(root, "4:memory:/app\n1:cpu:/app\n", v1_mount())
    v1_group(root / "sys/fs/cgroup/memory")
    return v1_group(root / "sys/fs/cgroup/memory/app", limit)


def v1_docker(root: Path, limit: object) -> Path:
    """Docker on version 1: the mount shows the container's own group only, at the mount point."""
    host(root, "4:memory:/docker/0af3\n", v1_mount("/docker/0af3"))
    return v1_group(root / "sys/fs/cgroup/memory", limit)


def v2(root: Path, limit: object, high: object = "max") -> Path:
    """A host with version 2, the process in /app; the real root has no memory files."""
    host(root, "0::/app\n", v2_mount())
    write(root / "sys/fs/cgroup/cgroup.controllers", "cpu memory")
    return v2_group(root / "sys/fs/cgroup/app", limit, high)


def v2_nested(root: Path, limit: object, parent_limit: object) -> Path:
    """Kubernetes' sort of tree: a pod's group with the container's below."""
    host(root, "0::/kubepods/pod1/app\n", v2_mount())
    v2_group(root / "sys/fs/cgroup/kubepods")
    v2_group(root / "sys/fs/cgroup/kubepods/pod1", parent_limit)
    return v2_group(root / "sys/fs/cgroup/kubepods/pod1/app", limit)


def v2_namespaced(root: Path, limit: object) -> Path:
    """A container with a cgroup namespace of its own: it sees itself as the root."""
    host(root, "0::/\n", v2_mount())
    return v2_group(root / "sys/fs/cgroup", limit)


def hybrid(root: Path, limit: object) -> Path:
    """Memory on version 1, and a version 2 hierarchy beside it that counts nothing."""
    host(
        root,
        "9:name=systemd:/\n4:memory:/box/7f\n1:cpu,cpuacct:/\n0::/\n",
        v1_mount() + v2_mount(point="/sys/fs/cgroup/unified"),
    )
    write(root / "sys/fs/cgroup/unified/cgroup.controllers", "")
    v1_group(root / "sys/fs/cgroup/memory")
    v1_group(root / "sys/fs/cgroup/memory/box")
    return v1_group(root / "sys/fs/cgroup/memory/box/7f", limit)


def process(
    root: Path,
    pid: int,
    *,
    pss_bytes: int = 0,
    resident_pages: int = 0,
    shared_pages: int = 0,
    parent: int = 1,
) -> Path:
    """Write one process; statm counts pages, smaps_rollup kB."""
    directory = root / "proc" / str(pid)
    write(directory / "statm", f"9000 {resident_pages} {shared_pages} 5 0 4000 0")
    rollup(root, pid, Rss=pss_bytes, Pss=pss_bytes, Private_Dirty=pss_bytes)
    write(directory / "stat", f"{pid} (a (b) c) S {parent} {pid} {pid} 0 -1 4194304")
    write(directory / "status", f"Name:\tpython\nPid:\t{pid}\nVmData:\t   16000 kB\nThreads:\t4")
    return directory


def rollup(root: Path, pid: int, **sums_bytes: int) -> None:
    """Write a process's smaps_rollup."""
    lines = "\n".join(f"{key}:    {sums_bytes[key] // 1024} kB" for key in sums_bytes)
    write(root / f"proc/{pid}/smaps_rollup", f"55d0-7ffc ---p 00000000 00:00 0   [rollup]\n{lines}")
