"""What single processes hold, read from /proc.

Three prices, dear to cheap: ``read_rollup`` walks the page tables (90 us for a shell, 6 to 14 ms
for 100 MB) and is exact about shared pages; ``/proc/<pid>/status`` formats many lines;
``Statm`` keeps its file open and costs about a microsecond, but knows nothing of sharing between
a parent and its forked children. Adding up a tree from these is the part of ``usage.TreeMeter``.

All functions raise ``ProcessLookupError`` when the process is gone (for its memory a zombie counts
as gone: it holds none), and ``PermissionError`` where the kernel denies the look.

Source: proc_pid_statm(5), proc_pid_smaps(5), proc_pid_status(5), proc_pid_task(5).
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_STATM_BYTES = 128  # seven numbers of at most 16 digits
_KIB = 1024
# Where in stat, after the command, the parent and the start are (fields 4 and 22 of proc(5)), and
# what the start is counted in.
_PARENT, _STARTED = 1, 19
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class StatmSample:
    """One reading of ``/proc/<pid>/statm``.

    Attributes:
        resident_bytes: Pages in memory, whoever else has them too.
        shared_bytes: Of these, file pages and shared memory.
        data_bytes: Address space that may be written and is private, stack included.
    """

    resident_bytes: int
    shared_bytes: int
    data_bytes: int

    @property
    def private_bytes(self) -> int:
        """Anonymous pages in memory, those still shared with a parent since fork included."""
        return max(0, self.resident_bytes - self.shared_bytes)


@dataclass(frozen=True, slots=True)
class Rollup:
    """The sums of ``/proc/<pid>/smaps_rollup``.

    Attributes:
        rss_bytes: Pages in memory; adding these up over processes counts shared ones repeatedly.
        pss_bytes: The same with each shared page divided among those who share it.
        uss_bytes: Pages that nobody else has: what would come free if the process ended.
        pss_anon_bytes: The anonymous part of ``pss_bytes``.
        pss_shmem_bytes: The part of ``pss_bytes`` that is shared memory: no file on a disk.
    """

    rss_bytes: int
    pss_bytes: int
    uss_bytes: int
    pss_anon_bytes: int
    pss_shmem_bytes: int = 0


class Statm:
    """Samples one process's memory, often and cheaply; close it when the process is gone.

    Args:
        pid: whose; None: of the process that makes it, and of that one also in what it forks.
        root: where ``proc`` is.
    """

    __slots__ = ("_fd",)

    def __init__(self, pid: int | None = None, root: Path = Path("/")) -> None:
        self._fd = -1  # so that a failed open leaves something to close
        whose = "self" if pid is None else str(pid)
        try:
            self._fd = os.open(root / "proc" / whose / "statm", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ProcessLookupError(errno.ESRCH, "no such process", pid) from error

    def read(self) -> StatmSample:
        """Return what the process holds now."""
        resident, shared, data = self.pages()
        return StatmSample(resident * PAGE_BYTES, shared * PAGE_BYTES, data * PAGE_BYTES)

    def pages(self) -> tuple[int, int, int]:
        """Return what is resident, shared and data, in **pages**: the path without objects."""
        fields = os.pread(self._fd, _STATM_BYTES, 0).split()
        # The kernel keeps a zombie's file but reports zeros; a living process maps at least its
        # code.
        if len(fields) < 6 or fields[0] == b"0":
            raise ProcessLookupError(errno.ESRCH, "the process has ended")
        return int(fields[1]), int(fields[2]), int(fields[5])

    def close(self) -> None:
        """Give the file descriptor back; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_rollup(pid: int, root: Path = Path("/")) -> Rollup:
    """Return the sums over all of the process's mappings (Linux 4.14 or newer)."""
    sums: dict[bytes, int] = {}
    for line in _read(pid, "smaps_rollup", root).splitlines()[1:]:
        key, _, value = line.partition(b":")
        number = value.split()
        if number and number[0].isdigit():
            sums[key] = int(number[0]) * _KIB
    if b"Pss" not in sums:
        raise ProcessLookupError(errno.ESRCH, "the process has ended", pid)
    return Rollup(
        rss_bytes=sums.get(b"Rss", 0),
        pss_bytes=sums[b"Pss"],
        uss_bytes=sums.get(b"Private_Clean", 0) + sums.get(b"Private_Dirty", 0),
        pss_anon_bytes=sums.get(b"Pss_Anon", 0),
        pss_shmem_bytes=sums.get(b"Pss_Shmem", 0),
    )


def status_bytes(pid: int, *names: bytes, root: Path = Path("/")) -> tuple[int, ...]:
    """Return what ``/proc/<pid>/status`` has under *names*, such as ``VmHWM``, in bytes."""
    text = _read(pid, "status", root)
    try:
        return tuple(
            _KIB * int(text.partition(b"\n%b:" % name)[2].split(None, 1)[0]) for name in names
        )
    except IndexError as error:  # the dead have no such lines
        raise ProcessLookupError(errno.ESRCH, "the process has ended", pid) from error


def parent_pid(pid: int, root: Path = Path("/")) -> int:
    """Return the process that has started *pid*, or adopted it; 0 for one without a parent."""
    return int(_stat(pid, root)[_PARENT])


def age_seconds(pid: int, root: Path = Path("/")) -> float:
    """Return how long *pid* has run, as exact as the kernel's clock tick (10 ms)."""
    started_ticks = int(_stat(pid, root)[_STARTED])
    up_seconds = float((root / "proc/uptime").read_text().split()[0])
    return max(0.0, up_seconds - started_ticks / _TICKS_PER_SECOND)


def command_name(pid: int, root: Path = Path("/")) -> str:
    """Return what *pid* calls itself: its command without a path, of which 15 bytes are kept."""
    return _read(pid, "comm", root).rstrip(b"\n").decode(errors="replace")


def descendants(pid: int, root: Path = Path("/")) -> list[int]:
    """Return the children of *pid*, then theirs, and so on; [] where there are none.

    A process that starts or ends during the walk may be missed or listed. A child whose parent
    has ended belongs to whoever adopted it, and is no longer found here.
    """
    children = _children_by_scan(root) if not _has_children_file(pid, root) else None
    found: list[int] = []
    level = [pid]
    while level:
        below: list[int] = []
        for parent in level:
            below += _children_of(parent, root) if children is None else children.get(parent, [])
        # A pid given to a new process during the walk could otherwise lead around in a circle.
        level = [child for child in below if child != pid and child not in found]
        found += level
    return found


def next_ended() -> tuple[int, int] | None:
    """Return process id and status of a child of this process that has ended; None: none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _has_children_file(pid: int, root: Path) -> bool:
    return (root / "proc" / str(pid) / "task" / str(pid) / "children").exists()


def _children_of(pid: int, root: Path) -> list[int]:
    """Return the children of each of the process's threads (kernels with PROC_CHILDREN)."""
    tasks = root / "proc" / str(pid) / "task"
    children: list[int] = []
    try:
        for thread in os.listdir(tasks):
            children += map(int, (tasks / thread / "children").read_bytes().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it, or one of its threads, ended while we looked: it has no children any more
    return children


def _children_by_scan(root: Path) -> dict[int, list[int]]:
    """Return every process's children by reading each process's parent."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir(root / "proc"):
        if not name.isdigit():
            continue
        with suppress(ProcessLookupError):
            children[parent_pid(int(name), root)].append(int(name))
    return children


def _stat(pid: int, root: Path) -> list[bytes]:
    """Return the fields of ``stat`` that follow the command: state, parent and so on."""
    # The command's name, in parentheses, may itself hold spaces and parentheses.
    return _read(pid, "stat", root).rpartition(b")")[2].split()


def _read(pid: int, name: str, root: Path) -> bytes:
    try:
        return (root / "proc" / str(pid) / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ProcessLookupError(errno.ESRCH, "no such process", pid) from error
