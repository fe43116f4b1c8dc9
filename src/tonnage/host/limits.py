"""How much memory this process may use, who says so, and what else was found.

``discover_limit()`` takes the lowest of: the process's memory cgroup and its parents, RLIMIT_AS,
the host's memory, and the user's own setting. The setting counts when it is lower than what the
kernel allows; it can never raise that. Nothing is kept between calls and a call costs well under
a millisecond, so whoever wants to follow a limit that changes calls again.

How the files are found is told in ``cgroups``; what is used of the limit, in ``usage``.

Sources: ``admin-guide/cgroup-v2.rst`` (memory.max, memory.high), ``cgroup-v1/memory.rst``
(memory.limit_in_bytes, hierarchical_memory_limit), getrlimit(2), proc_meminfo(5).
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tonnage.errors import UsageError
from tonnage.host.cgroups import MemoryCgroup, memory_cgroups
from tonnage.units import format_bytes

Kind = Literal["setting", "cgroup", "rlimit", "host"]

# Version 1 writes "no limit" as the largest multiple of the page size below 2**63, which differs
# from machine to machine. No memory is that large, so anything near it means none.
_UNLIMITED_BYTES = 2**62


@dataclass(frozen=True, slots=True)
class Found:
    """One place that was asked for a limit.

    Attributes:
        bytes: The limit there; None where it sets none.
        source: The place, as a person would name it: "cgroup v2 memory.max of /app".
        kind: What sort of place it is.
        cgroup: The group whose usage counts towards this limit, for kind "cgroup".
    """

    bytes: int | None
    source: str
    kind: Kind
    cgroup: MemoryCgroup | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit that binds, and how it was found.

    Attributes:
        bytes: The limit.
        source: Who sets it.
        kind: What sort of limit it is; it decides how usage is measured (``usage.meter_for``).
        cgroup: The group that binds, when kind is "cgroup".
        own_cgroup: The process's own group, whichever limit binds; its counters tell of kills.
        host_bytes: The host's memory; 0 where it cannot be known.
        candidates: Every place that was asked, in the order of asking.
        warnings: One line for each thing found that the user should know.
    """

    bytes: int
    source: str
    kind: Kind
    cgroup: MemoryCgroup | None
    own_cgroup: MemoryCgroup | None
    host_bytes: int
    candidates: tuple[Found, ...]
    warnings: tuple[str, ...]

    def describe(self) -> str:
        """Return one line: the figure, who sets it, and what lies above it."""
        parts = [f"set by {self.source}" if self.kind == "setting" else self.source]
        kernel = _lowest(found for found in self.candidates if found.kind in ("cgroup", "rlimit"))
        if self.kind == "setting" and kernel is not None and kernel.bytes is not None:
            parts.append(f"{kernel.source} allows {format_bytes(kernel.bytes)}")
        if self.kind != "host" and self.host_bytes:
            parts.append(f"host has {format_bytes(self.host_bytes)}")
        return f"{format_bytes(self.bytes)}: {'; '.join(parts)}"


def read_rlimit_as() -> int | None:
    """Return the soft limit on this process's address space in bytes; None where there is none."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY or soft < 0 else soft


def discover_limit(
    setting_bytes: int | None = None,
    setting_name: str = "--memory",
    root: Path = Path("/"),
    rlimit_as_bytes: Callable[[], int | None] = read_rlimit_as,
) -> Limit:
    """Return the lowest limit in force, where *setting_bytes* is the one the user asked for.

    Raises:
        UsageError: if the host does not say how much memory it has and no other limit is set.
    """
    groups = memory_cgroups(root)
    found, warnings = _ask_cgroups(groups)
    found.append(Found(rlimit_as_bytes(), "RLIMIT_AS (ulimit -v)", "rlimit"))
    host = Found(_host_bytes(root), "the host's memory", "host")
    found.append(host)
    binding = _lowest(found)
    if setting_bytes is not None:
        setting = Found(setting_bytes, setting_name, "setting")
        found.insert(0, setting)
        warnings += _overruled(setting_bytes, setting_name, binding)
        # At the same figure the kernel's own books are the better measure of what is used.
        binding = _lowest([binding, setting] if binding else [setting])
    if binding is None or binding.bytes is None:
        raise UsageError("this host does not say how much memory it has: set --memory")
    return Limit(
        bytes=binding.bytes,
        source=binding.source,
        kind=binding.kind,
        cgroup=binding.cgroup,
        own_cgroup=groups[0] if groups else None,
        host_bytes=host.bytes or 0,
        candidates=tuple(found),
        warnings=tuple(warnings),
    )


def _lowest(found: Iterable[Found]) -> Found | None:
    """Return the place with the lowest limit, the first of equals; None if none sets one."""
    limited = [(place.bytes, place) for place in found if place.bytes is not None]
    return min(limited, key=lambda pair: pair[0])[1] if limited else None


def _overruled(setting_bytes: int, setting_name: str, kernel: Found | None) -> list[str]:
    if kernel is None or kernel.bytes is None or setting_bytes <= kernel.bytes:
        return []
    allowed = format_bytes(kernel.bytes)
    asked = f"{setting_name} asks for {format_bytes(setting_bytes)}"
    return [f"{asked}, but {kernel.source} allows {allowed}: {allowed} is used"]


def _ask_cgroups(groups: tuple[MemoryCgroup, ...]) -> tuple[list[Found], list[str]]:
    """Return what each group allows, and a note on each answer that cannot be used."""
    found: list[Found] = []
    notes: list[str] = []
    for group in groups:
        for path in (group.limit_path, group.high_path):
            if path is not None:
                found += _ask_file(group, path, notes)
    if groups and groups[0].version == 1:
        found += _hidden_parent(groups, _lowest(found))
    return found, notes


def _ask_file(group: MemoryCgroup, path: Path, notes: list[str]) -> list[Found]:
    source = f"cgroup v{group.version} {path.name} of {group.name}"
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return []
    except OSError as error:
        notes.append(f"{source} cannot be read ({error.strerror}): ignored")
        return []
    if text != "max" and not text.isdecimal():
        notes.append(f"{source} holds {text[:40]!r}, which is not a size: ignored")
        return []
    limit_bytes = None if text == "max" else int(text)
    if limit_bytes == 0:
        # Zero is not "none": the kernel means it. But nothing runs in zero bytes, so as a figure
        # to plan with it is as good as none.
        notes.append(f"{source} is 0, in which no process can run: ignored")
        return []
    if limit_bytes is not None and limit_bytes >= _UNLIMITED_BYTES:
        limit_bytes = None
    return [Found(limit_bytes, source, "cgroup", group)]


def _hidden_parent(groups: tuple[MemoryCgroup, ...], visible: Found | None) -> list[Found]:
    """Return the limit of a parent that is not mounted here, if it is lower than all seen.

    Version 1 tells it in ``memory.stat``; version 2 tells nothing above the mount.
    """
    try:
        stat = groups[0].stat_path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    value = stat.partition("hierarchical_memory_limit ")[2].partition("\n")[0].strip()
    limit_bytes = int(value) if value.isdecimal() else 0
    lowest_seen = visible.bytes if visible and visible.bytes else _UNLIMITED_BYTES
    if not 0 < limit_bytes < lowest_seen:
        return []
    # That parent's usage cannot be read either; of the groups seen, the topmost holds most of it.
    source = f"cgroup v1 hierarchical_memory_limit of {groups[0].name}"
    return [Found(limit_bytes, source, "cgroup", groups[-1])]


def _host_bytes(root: Path) -> int | None:
    """Return the host's memory: MemTotal, or sysconf where there is no /proc."""
    try:
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(":")
            if key == "MemTotal":
                return int(value.split()[0]) * 1024
    except OSError:
        pass  # not Linux, or /proc is not mounted: the C library may still know
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
