"""What the tests of wake-ups have in common: limits to open them for, and eyes to watch them."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tonnage.host.cgroups import MemoryCgroup, Version
from tonnage.host.limits import Limit
from tonnage.host.wakeups import Wakeup
from tonnage.units import MIB

DEADLINE_SECONDS = 10.0
NO_PRESSURE = {"MEMORY_PRESSURE_WATCH": "/dev/null"}


def limit_of(cgroup: MemoryCgroup | None) -> Limit:
    """Return a limit that *cgroup* sets, or, without one, the user."""
    return Limit(
        bytes=64 * MIB,
        source="a test" if cgroup else "--memory",
        kind="cgroup" if cgroup else "setting",
        cgroup=cgroup,
        own_cgroup=cgroup,
        host_bytes=0,
        candidates=(),
        warnings=(),
    )


@contextmanager
def only(found: tuple[list[Wakeup], list[str]]) -> Iterator[Wakeup]:
    """Yield the one wake-up that was found; there must be no other."""
    (wakeup,) = found[0]
    try:
        yield wakeup
    finally:
        wakeup.close()


def reports(wakeup: Wakeup, timeout_seconds: float = DEADLINE_SECONDS) -> bool:
    """Wait until *wakeup* reports something; return whether it did in time."""
    with select.epoll() as epoll:
        epoll.register(wakeup, wakeup.events)
        return bool(epoll.poll(timeout_seconds))


def is_quiet(wakeup: Wakeup) -> bool:
    """Return whether a supervisor that watches *wakeup* would sleep."""
    return not reports(wakeup, 0)


def stand_in(tmp_path: Path, version: Version = 2, **files: Path) -> MemoryCgroup:
    """Return a group in *tmp_path* whose files lead to others; ``_`` in a name means a dot."""
    for name, target in files.items():
        (tmp_path / name.replace("_", ".")).symlink_to(target)
    return MemoryCgroup(version, tmp_path, "/app")


def need_host_pressure() -> None:
    """Skip where the kernel does not measure pressure."""
    try:
        os.close(os.open("/proc/pressure/memory", os.O_RDWR))
    except OSError as error:
        pytest.skip(f"no pressure here: /proc/pressure/memory: {error.strerror}")
