"""What the kernel can tell us before the next look is due.

``open_wakeups()`` opens every notification that this machine offers. Each is a file descriptor to
watch: when it reports, look at once. A wake-up proves nothing by itself: it may be late, come for
the page cache or on the way down, and several may be one. The look decides (``usage``); looking at
intervals (:mod:`tonnage.governor.pace`) goes on, since none of these sources sees everything.

- Version 1: an eventfd for each mark, which reports when the group's usage crosses it, in either
  direction and within about 1 ms. Usage includes page cache: once that alone fills the group up to
  a mark, crossings by the working set are no longer seen.
- Version 2: ``memory.events``, which reports when the limit was hit (``max``), when the kernel
  throttles (``high``) or kills; at most once in 10 ms.
- Pressure (PSI): tasks stood still for want of memory; at most once in 2 s. Without swap it comes
  late, so it is a second opinion. Where systemd hands us one (``$MEMORY_PRESSURE_WATCH``), that one
  is used; if it says ``/dev/null``, none is.

Not used: version 1's ``memory.pressure_level``, which speaks only at the limit, then floods, and is
deprecated.

The descriptors are close-on-exec, but a fork copies them: whoever is forked should close them.

Sources: ``cgroup-v1/memory.rst`` (section 9), ``cgroup-v2.rst`` (memory.events),
``accounting/psi.rst``, and systemd's "Resource Pressure Handling".
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from tonnage.host.cgroups import MemoryCgroup
from tonnage.host.limits import Limit
from tonnage.units import format_bytes

# 150 ms of standing still within 2 s. Only a process with CAP_SYS_RESOURCE may ask for a window
# that is not a multiple of 2 s. The zero byte counts: /proc/pressure replaces the last byte by one,
# and would read a window of 200 ms.
_PSI_TRIGGER: Final = b"some 150000 2000000\0"
_READ_BYTES: Final = 65536


class Wakeup:
    """One open notification, for ``select.poll`` and ``select.epoll``.

    Attributes:
        name: What it is, as a person would say it: "cgroup v1 threshold at 410 MB".
        events: What to watch for, EPOLLIN or EPOLLPRI; poll and epoll use the same bits. Errors are
            reported unasked, and on some sources together with every event: only ``drain()`` can
            tell whether one means the end.
    """

    __slots__ = ("_closing", "_consume", "_fd", "events", "name")

    def __init__(
        self, name: str, fd: int, events: int, consume: Callable[[], bool], closing: ExitStack
    ) -> None:
        self.name = name
        self.events = events
        self._fd = fd
        self._consume = consume
        self._closing = closing

    def __repr__(self) -> str:
        return f"<Wakeup {self.name!r} fd={self._fd}>"

    def fileno(self) -> int:
        """Return the file descriptor to watch; -1 once closed."""
        return self._fd

    def drain(self) -> bool:
        """Take what was reported, or the descriptor would report it for ever.

        Returns False when the source is gone and will never report again: stop watching, close.
        """
        if self._fd < 0:
            return False
        try:
            return self._consume()
        except BlockingIOError:
            return True  # nothing there: it was taken before
        except OSError:
            return False

    def close(self) -> None:
        """Give the descriptors back; closing twice is harmless."""
        self._fd = -1
        self._closing.close()


def open_wakeups(
    limit: Limit,
    marks_bytes: Sequence[int],
    environ: Mapping[str, str],
    *,
    root: Path = Path("/"),
    platform: str = sys.platform,
) -> tuple[list[Wakeup], list[str]]:
    """Return the notifications that could be opened, and in words which could not, and why.

    Args:
        limit: the limit; its group is the one that is watched.
        marks_bytes: the usage at which a look is wanted; at most a handful, each holds two
            descriptors. Only version 1 can watch them.
        environ: where systemd's two variables are.
        root: where ``/proc`` is.
        platform: as ``sys.platform``.

    Never raises: without any of this there is still the looking at intervals.
    """
    if platform != "linux":
        return [], [f"kernel notifications: none on {platform}"]
    found: list[Wakeup] = []
    missing: list[str] = []
    _open_group(limit, marks_bytes, found, missing)
    _open_pressure(limit.cgroup or limit.own_cgroup, environ, root, found, missing)
    return found, missing


def _open_group(
    limit: Limit, marks_bytes: Sequence[int], found: list[Wakeup], missing: list[str]
) -> None:
    """Open what the group itself reports."""
    group = limit.cgroup or limit.own_cgroup
    if group is not None and group.version == 2:
        _try("cgroup v2 memory.events", partial(_open_events, group), found, missing)
    elif limit.cgroup is None:
        # Its usage is not what the marks are about: others may share it, or it is the whole host.
        missing.append("cgroup notifications: none, since the limit is not a cgroup's")
    else:
        for mark_bytes in sorted(set(marks_bytes)):
            name = f"cgroup v1 threshold at {format_bytes(mark_bytes)}"
            if not _try(name, partial(_open_threshold, limit.cgroup, mark_bytes), found, missing):
                break  # the others would fail for the same reason


def _open_pressure(
    group: MemoryCgroup | None,
    environ: Mapping[str, str],
    root: Path,
    found: list[Wakeup],
    missing: list[str],
) -> None:
    """Open one source of pressure: systemd's, or the group's, or the host's."""
    watch = environ.get("MEMORY_PRESSURE_WATCH", "")
    if watch == "/dev/null":
        missing.append("memory pressure: switched off by MEMORY_PRESSURE_WATCH=/dev/null")
        return
    for name, opener in _pressure_sources(group, watch, environ, root):
        if _try(name, opener, found, missing):
            return


def _pressure_sources(
    group: MemoryCgroup | None, watch: str, environ: Mapping[str, str], root: Path
) -> Iterator[tuple[str, _Opener]]:
    """Yield what can be tried, the most fitting first."""
    if watch:
        written = environ.get("MEMORY_PRESSURE_WRITE", "")
        yield f"systemd's {watch}", partial(_open_watch, watch, written)
    if group is not None and group.version == 2:
        path = group.path / "memory.pressure"
        yield f"memory.pressure of {group.name}", partial(_open_psi, path, _PSI_TRIGGER)
    # The whole host's: wakes us for the neighbours too, but only once in 2 s.
    path = root / "proc/pressure/memory"
    yield "/proc/pressure/memory", partial(_open_psi, path, _PSI_TRIGGER)


_Opener = Callable[[str, ExitStack], Wakeup]
"""Opens a source of the given name; what it opens is on the stack, also when it fails."""


def _try(name: str, opener: _Opener, found: list[Wakeup], missing: list[str]) -> bool:
    """Add what *opener* opens to *found*, or why it could not to *missing*."""
    closing = ExitStack()
    try:
        wakeup = opener(name, closing)
        _must_be_pollable(wakeup)
    except (OSError, ValueError) as error:
        closing.close()
        reason = error.strerror if isinstance(error, OSError) else None
        missing.append(f"{name}: {reason or error}")
        return False
    found.append(wakeup)
    return True


def _must_be_pollable(wakeup: Wakeup) -> None:
    """Raise OSError for a file that reports nothing, or an error for ever: either is of no use."""
    with select.epoll() as probe:
        try:
            probe.register(wakeup, wakeup.events)
        except PermissionError:
            raise OSError(errno.EINVAL, "not a file that reports events") from None
        if any(happened & (select.EPOLLERR | select.EPOLLHUP) for _, happened in probe.poll(0)):
            raise OSError(errno.EIO, "reports an error at once")


def _open(path: Path | str, flags: int, closing: ExitStack) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC)
    closing.callback(os.close, fd)
    return fd


def _open_threshold(group: MemoryCgroup, mark_bytes: int, name: str, closing: ExitStack) -> Wakeup:
    """Open version 1's notification for one mark.

    Each mark has an eventfd of its own although one could carry all: kernels before 5.6 crash when
    an eventfd that was given several thresholds is closed.
    """
    usage_fd = _open(group.usage_path, os.O_RDONLY, closing)
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    closing.callback(os.close, fd)
    # Opened without O_CREAT: what is not there must not come to be.
    control_fd = os.open(group.path / "cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(control_fd, f"{fd} {usage_fd} {mark_bytes}".encode())
    finally:
        os.close(control_fd)

    def consume() -> bool:
        os.eventfd_read(fd)
        # A group that is removed reports once, as if a mark were crossed; then this is ENODEV.
        return bool(os.pread(usage_fd, _READ_BYTES, 0))

    return Wakeup(name, fd, select.EPOLLIN, consume, closing)


def _open_events(group: MemoryCgroup, name: str, closing: ExitStack) -> Wakeup:
    """Open version 2's ``memory.events``; reading permission is enough."""
    fd = _open(group.path / "memory.events", os.O_RDONLY, closing)

    def consume() -> bool:
        # Reported is "changed since it was last read", always together with EPOLLERR; ENODEV is
        # what tells that the group is gone.
        return bool(os.pread(fd, _READ_BYTES, 0))

    consume()
    return Wakeup(name, fd, select.EPOLLPRI, consume, closing)


def _open_psi(path: Path | str, trigger: bytes, name: str, closing: ExitStack) -> Wakeup:
    """Open a pressure file and ask it to report; *trigger* as ``accounting/psi.rst`` has it."""
    fd = _open(path, os.O_RDWR | os.O_NONBLOCK, closing)
    if trigger:
        os.write(fd, trigger)

    def consume() -> bool:
        # The poll that reports an event has taken it already, and reading is not for triggers.
        # What is left to find out is whether the source has gone with its group.
        again = select.poll()
        again.register(fd, select.POLLPRI)
        return not any(happened & ~select.POLLPRI for _, happened in again.poll(0))

    return Wakeup(name, fd, select.EPOLLPRI, consume, closing)


def _open_watch(path: str, written: str, name: str, closing: ExitStack) -> Wakeup:
    """Open what systemd's two variables name; ValueError if the second is not Base64."""
    import base64  # Only here: few are started by systemd.

    try:
        trigger = base64.b64decode(written, validate=True)
    except ValueError as error:
        raise ValueError(f"MEMORY_PRESSURE_WRITE is not Base64 ({error})") from None
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return _open_psi(path, trigger, name, closing)
    if stat.S_ISSOCK(mode):
        connection = closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        connection.setblocking(False)
        connection.connect(path)
        fd = connection.fileno()
    elif stat.S_ISFIFO(mode):
        # Open for writing too, a FIFO whose writers come and go never reports a hang-up.
        fd = _open(path, os.O_RDWR | os.O_NONBLOCK, closing)
    else:
        raise ValueError("neither a pressure file nor a FIFO nor a socket")
    if trigger:
        os.write(fd, trigger)
    # A FIFO gives back what was just written, if nobody else reads it: one look for nothing.
    return Wakeup(name, fd, select.EPOLLIN, lambda: bool(os.read(fd, _READ_BYTES)), closing)
