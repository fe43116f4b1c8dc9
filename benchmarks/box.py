"""A memory cgroup with a hard limit, for one server and all it starts.

``MemoryBox`` makes a real child cgroup (version 1 or 2, whichever holds the memory controller),
swap shut off, so that what is measured is the kernel's own verdict: the usage it charges, the
peak, and how many processes it killed. The load generator stays outside.

It needs a writable cgroup tree, in practice root. Where there is none, ``BoxError`` says
why; nothing falls back to an emulation, for RLIMIT_AS and the like answer another question.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tonnage.host.cgroups import MemoryCgroup

EMPTYING_SECONDS = 5.0
"""How long the processes in a box may take to be gone after SIGKILL before we give up."""

_numbers = itertools.count(1)


class BoxError(Exception):
    """No memory cgroup can be made here; the message says which step failed."""


@dataclass(frozen=True, slots=True)
class _Files:
    """What the kernel calls the same thing in the two versions of cgroups."""

    version: Literal[1, 2]
    limit: str
    usage: str
    peak: str
    swap_limit: str
    events: str


_V1 = _Files(
    version=1,
    limit="memory.limit_in_bytes",
    usage="memory.usage_in_bytes",
    peak="memory.max_usage_in_bytes",
    swap_limit="memory.memsw.limit_in_bytes",
    events="memory.oom_control",
)
_V2 = _Files(
    version=2,
    limit="memory.max",
    usage="memory.current",
    peak="memory.peak",
    swap_limit="memory.swap.max",
    events="memory.events",
)


class MemoryBox:
    """One child cgroup with *limit_bytes* of memory and no swap.

    A context manager: on the way out every process still inside is killed and the cgroup removed.
    Only processes of this box are ever signalled, by the ids the kernel lists for it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        parent, self._files = _find_parent()
        self.path = parent / f"tonnage-bench-{os.getpid()}-{next(_numbers)}"

    def __enter__(self) -> MemoryBox:
        try:
            self.path.mkdir()
        except OSError as error:
            raise BoxError(f"cannot make a memory cgroup: {error.strerror}") from error
        try:
            self._write(self._files.limit, self.limit_bytes)
            # Version 1 limits memory and swap together, version 2 swap alone. The file is missing
            # where the kernel has no swap accounting, which does no harm on a host without swap.
            with contextlib.suppress(FileNotFoundError):
                self._write(
                    self._files.swap_limit, self.limit_bytes if self._files.version == 1 else 0
                )
        except OSError as error:
            self.path.rmdir()
            raise BoxError(f"cannot limit the memory cgroup: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.empty()
        self.path.rmdir()

    @property
    def cgroup(self) -> MemoryCgroup:
        """The box as Tonnage's meters know it."""
        return MemoryCgroup(self._files.version, self.path, self.path.name)

    def wrap(self, command: Sequence[str]) -> list[str]:
        """Return *command* so that it joins the box before it starts.

        A shell joins and then becomes the command (``exec``): the first page the server touches
        is already charged here, and its pid is the one we started.
        """
        join = f'echo $$ > "{self.path}/cgroup.procs" && exec "$@"'
        return ["sh", "-c", join, "sh", *command]

    @property
    def usage_bytes(self) -> int:
        """What the kernel charges now, page cache included."""
        return int(self._read(self._files.usage))

    @property
    def peak_bytes(self) -> int:
        """The highest usage since the box was made (0 where the kernel does not record it)."""
        with contextlib.suppress(FileNotFoundError):
            return int(self._read(self._files.peak))
        return 0

    @property
    def kernel_kills(self) -> int:
        """Processes of this box that the kernel killed for want of memory."""
        for line in self._read(self._files.events).splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
        return 0

    @property
    def pids(self) -> list[int]:
        """The processes inside, in no special order."""
        return [int(line) for line in self._read("cgroup.procs").split()]

    def empty(self) -> None:
        """Kill what is inside and wait until it is gone.

        Raises:
            TimeoutError: if a process is still there after ``EMPTYING_SECONDS``.
        """
        deadline = time.monotonic() + EMPTYING_SECONDS
        while pids := self.pids:
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes {pids} do not end")
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def _read(self, name: str) -> str:
        return (self.path / name).read_text()

    def _write(self, name: str, value: int) -> None:
        (self.path / name).write_text(str(value))


def _find_parent() -> tuple[Path, _Files]:
    """Return the cgroup directory to make boxes in, and how its files are called."""
    mounts = list(_cgroup_mounts())
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        for mount in mounts:
            if "memory" in controllers.split(",") and "memory" in mount.controllers:
                return mount.locate(name), _V1
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if not line.startswith("0::"):
            continue
        for mount in mounts:
            own = mount.locate(line[3:])
            # Version 2 allows no processes beside child groups with controllers, so the place to
            # make a box is an ancestor that already hands the memory controller down.
            for place in (own, *own.parents):
                if not place.is_relative_to(mount.point):
                    break
                control = place / "cgroup.subtree_control"
                if control.exists() and "memory" in control.read_text().split():
                    return place, _V2
    raise BoxError("no memory cgroup is mounted here that hands its controller down")


@dataclass(frozen=True, slots=True)
class _Mount:
    point: Path
    root: str
    controllers: frozenset[str]

    def locate(self, name: str) -> Path:
        """Return the directory of cgroup *name*, which the mount may show only in part."""
        inside = name.removeprefix(self.root.rstrip("/")) if name.startswith(self.root) else ""
        return self.point / inside.lstrip("/")


def _cgroup_mounts() -> Iterator[_Mount]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            yield _Mount(Path(point), root, frozenset(options.split(",")))
