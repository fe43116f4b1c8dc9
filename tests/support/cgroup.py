"""A real memory limit to try things in: a child cgroup of the one the tests run in.

    need_cgroup()
    with MemoryBox(64 * MIB) as box:
        subprocess.run(command, preexec_fn=box.enter)
        assert box.kills() == 0

On version 1 the box is a child of the tests' own group; on version 2, where a group that holds
processes may not have children with limits, of the nearest parent that hands the memory controller
down. Swap is off in the box, so that the limit is the limit.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import time
from pathlib import Path
from typing import Self

from tests.support.missing import give_up

from tonnage.host.cgroups import MemoryCgroup, memory_cgroups

_GONE_AFTER_SECONDS = 5.0
_serial = itertools.count()


def why_not() -> str | None:
    """Return why no box can be made on this machine; None when one can."""
    parent = _parent()
    if parent is None:
        return "no memory cgroup here can have children"
    if not os.access(parent.path, os.W_OK):
        return f"the memory cgroup {parent.path} may not be written (root is needed)"
    try:
        with MemoryBox(64 * 2**20):
            return None
    except OSError as error:
        return f"no child cgroup can be made in {parent.path}: {error.strerror}"


def need_cgroup() -> None:
    """Skip the test where no box can be made; fail instead where ``CI`` is ``true``."""
    reason = why_not()
    if reason is not None:
        give_up("a real memory cgroup", reason)


class MemoryBox:
    """A child cgroup with a hard limit and no swap; it and what runs in it end with the block."""

    def __init__(self, limit_bytes: int) -> None:
        parent = _parent()
        if parent is None:
            raise FileNotFoundError("no memory cgroup here can have children")
        name = f"tonnage-{os.getpid()}-{next(_serial)}"
        self.cgroup = MemoryCgroup(
            parent.version, parent.path / name, f"{parent.name.rstrip('/')}/{name}"
        )
        self.limit_bytes = limit_bytes

    @property
    def path(self) -> Path:
        """The box's directory."""
        return self.cgroup.path

    def __enter__(self) -> Self:
        self.path.mkdir()
        try:
            self.set_limit(self.limit_bytes)
        except OSError:
            self.path.rmdir()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        self._remove()

    def set_limit(self, limit_bytes: int) -> None:
        """Make *limit_bytes* the hard limit, also while processes run; it can go up or down."""
        self.limit_bytes = limit_bytes
        if self.cgroup.version == 2:
            self._write("memory.max", limit_bytes)
            self._write_if_there("memory.swap.max", 0)
            return
        # Memory plus swap may never be below memory, so lowering starts there and raising ends
        # there: whichever order is wrong is refused with EINVAL.
        with_swap = "memory.memsw.limit_in_bytes"
        try:
            self._write("memory.limit_in_bytes", limit_bytes)
            self._write_if_there(with_swap, limit_bytes)
        except OSError:
            self._write_if_there(with_swap, limit_bytes)
            self._write("memory.limit_in_bytes", limit_bytes)

    def add(self, pid: int) -> None:
        """Move a process in; what it holds already stays charged to where it came from (v1)."""
        self._write("cgroup.procs", pid)

    def enter(self) -> None:
        """Move the calling process in; for ``preexec_fn``."""
        self.add(0)

    def usage(self) -> int:
        """Return what is charged now, in bytes."""
        return int(self.cgroup.usage_path.read_text())

    def peak(self) -> int:
        """Return the most that was ever charged, in bytes."""
        name = "memory.peak" if self.cgroup.version == 2 else "memory.max_usage_in_bytes"
        return int((self.path / name).read_text())

    def kills(self) -> int:
        """Return how many processes the kernel has killed in the box for want of memory."""
        words = self.cgroup.kills_path.read_text().split()
        return int(words[words.index("oom_kill") + 1])

    def pids(self) -> list[int]:
        """Return the processes that are in the box."""
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]

    def kill_all(self) -> None:
        """End every process in the box, and wait until all are gone.

        Raises:
            TimeoutError: if one is still there after five seconds.
        """
        deadline = time.monotonic() + _GONE_AFTER_SECONDS
        while pids := self.pids():
            for pid in pids:
                _kill_and_wait(pid, deadline)
            if time.monotonic() > deadline:
                raise TimeoutError(f"still in {self.path}: {pids}")

    def _remove(self) -> None:
        # The last process is out of cgroup.procs a moment before the kernel lets go of the group.
        deadline = time.monotonic() + _GONE_AFTER_SECONDS
        while True:
            try:
                return self.path.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.002)

    def _write(self, name: str, value: int) -> None:
        (self.path / name).write_text(str(value))

    def _write_if_there(self, name: str, value: int) -> None:
        if (self.path / name).exists():
            self._write(name, value)


def _parent() -> MemoryCgroup | None:
    """Return the group in which a box can be made."""
    for group in memory_cgroups():
        if group.version == 1 or _hands_memory_down(group.path):
            return group
        above = group.path.parent
        # The real root of version 2 has no counter of its own, so it is not among the groups.
        if (above / "cgroup.subtree_control").exists() and _hands_memory_down(above):
            return MemoryCgroup(2, above, str(Path(group.name).parent))
    return None


def _hands_memory_down(path: Path) -> bool:
    return "memory" in (path / "cgroup.subtree_control").read_text().split()


def _kill_and_wait(pid: int, deadline: float) -> None:
    """End one process; a pidfd tells when, without asking again and again."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        ended = select.poll()
        ended.register(fd, select.POLLIN)
        ended.poll(max(0.0, deadline - time.monotonic()) * 1000)
    except ProcessLookupError:
        return  # it ended by itself
    finally:
        os.close(fd)
