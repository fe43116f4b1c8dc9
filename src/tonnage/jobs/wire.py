"""What goes over a job's data socket, between its caller and its process.

One message each, with its kind in front: what the function is called with and, for each further
item, that it is wanted (from the caller); items, the result or an error (from the process). Up to
:data:`INLINE_BYTES` they travel in the message itself; what is larger goes through a file in memory
whose descriptor is sent, so that neither side ever waits for the other to read.

Promises: what is packed is written piece by piece, and given up as soon as it is larger than it may
be, so that no more than that is ever held for it. It is loaded without another copy of its bytes.
What is received is as trusted as the application's own code, which is what made it.

Does not know about time, turns or who is at the other end.
"""

from __future__ import annotations

import errno
import os
import pickle
import socket
import tempfile
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tonnage.errors import JobTooLargeError
from tonnage.units import KIB, MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is larger does not go into the message itself.
INLINE_BYTES: Final = 64 * KIB
#: In which pieces a file is read where it is not loaded.
CHUNK_BYTES: Final = 1 * MIB
_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_NO_SIGNAL: Final = getattr(socket, "MSG_NOSIGNAL", 0)
# In the first byte, besides the kind: the message is a descriptor.
_IN_A_FILE: Final = 0x80


class Kind(IntEnum):
    """What a message is."""

    GIVEN = 1
    MORE = 2
    ITEM = 3
    RESULT = 4
    ERROR = 5


class Parcel:
    """A value on its way: pickled, in bytes or in a file in memory, which closing gives back."""

    __slots__ = ("_data", "_fd", "size_bytes")

    def __init__(self, data: bytes, fd: int = -1) -> None:
        self._data = data
        self._fd = fd
        #: How many bytes it is.
        self.size_bytes = len(data) if fd < 0 else os.fstat(fd).st_size

    @property
    def is_large(self) -> bool:
        """Whether it is in a file."""
        return self._fd >= 0

    def load(self) -> Any:
        """Return the value; what is loaded is the caller's, and the parcel is closed."""
        if self._fd < 0:
            return pickle.loads(self._data)
        fd, self._fd = self._fd, -1
        with os.fdopen(fd, "rb") as file:
            file.seek(0)
            return pickle.load(file)

    def chunks(self) -> Iterator[bytes]:
        """Yield its pickled bytes, piece by piece; it stays as it is."""
        if self._fd < 0:
            yield self._data
            return
        at = 0
        while piece := os.pread(self._fd, CHUNK_BYTES, at):
            at += len(piece)
            yield piece

    def close(self) -> None:
        """Give the file back; harmless when it is closed or was never there."""
        fd, self._fd, self._data = self._fd, -1, b""
        if fd >= 0:
            os.close(fd)

    def send(self, end: socket.socket, kind: Kind) -> None:
        """Send it over *end*, and close it.

        Raises:
            OSError: nobody is there to read it, or it does not fit in now.
        """
        try:
            if self._fd < 0:
                end.sendmsg([bytes([kind]), self._data], [], _NO_SIGNAL)
            else:
                socket.send_fds(end, [bytes([kind | _IN_A_FILE])], [self._fd], _NO_SIGNAL)
        finally:
            self.close()


def ask_more(end: socket.socket) -> None:
    """Tell the other end that another item is wanted.

    Raises:
        OSError: nobody is there.
    """
    end.send(bytes([Kind.MORE]), _NO_SIGNAL)


def receive(end: socket.socket) -> tuple[Kind, Parcel]:
    """Return the next message.

    Raises:
        EOFError: there will be none.
        BlockingIOError: there is none yet, and *end* does not wait.
        OSError: it came with a file, and this process has no place for one more.
    """
    try:
        data, fds = _received(end)
    except ConnectionResetError:
        # It has closed without reading all, which comes before what it had sent.
        data, fds = _received(end)
    if not data:
        raise EOFError
    kind = Kind(data[0] & ~_IN_A_FILE)
    if not data[0] & _IN_A_FILE:
        return kind, Parcel(data[1:])
    if not fds:
        raise OSError(errno.EMFILE, "too many files are open to take another one")
    return kind, Parcel(b"", fds[0])


def _received(end: socket.socket) -> tuple[bytes, list[int]]:
    data, fds, _, _ = socket.recv_fds(end, INLINE_BYTES + 1, 1, _CLOSE_ON_EXEC)
    return data, fds


def pack(value: Any, most_bytes: int, what: str) -> Parcel:
    """Return *value*, pickled.

    Args:
        value: anything that can be pickled.
        most_bytes: how large it may become.
        what: what it is called where it is too large: "the result of module:function".

    Raises:
        JobTooLargeError: it is larger than that.
        Exception: it cannot be pickled.
    """
    with Spilling(most_bytes, what) as file:
        pickle.Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
        return file.parcel()


class Spilling:
    """What a pickler writes to: some bytes here, and from there on a file in memory.

    Args:
        most_bytes: how much it takes; beyond, it raises JobTooLargeError.
        what: what it is called then.
    """

    def __init__(self, most_bytes: int, what: str) -> None:
        self._most_bytes = most_bytes
        self._what = what
        self._size_bytes = 0
        self._here = bytearray()
        self._fd = -1

    def __enter__(self) -> Spilling:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def write(self, piece: Any) -> int:
        """Take *piece*; return how many bytes that is."""
        view = memoryview(piece).cast("B")
        self._size_bytes += len(view)
        if self._size_bytes > self._most_bytes:
            self._refuse()
        if self._size_bytes <= INLINE_BYTES:
            self._here += view
            return len(view)
        if self._fd < 0:
            self._fd = _file_in_memory()
            _write_all(self._fd, memoryview(self._here))
        _write_all(self._fd, view)
        return len(view)

    def parcel(self) -> Parcel:
        """Return what was written; it is the caller's from now on."""
        if self._fd < 0:
            return Parcel(bytes(self._here))
        fd, self._fd = self._fd, -1
        return Parcel(b"", fd)

    def _refuse(self) -> NoReturn:
        raise JobTooLargeError(
            f"{self._what} is larger than the {format_bytes(max(0, self._most_bytes))} that there"
            " are for it: pass less at once, or a path to it, or raise memory="
        )


def _write_all(fd: int, rest: memoryview) -> None:
    while rest:
        rest = rest[os.write(fd, rest) :]


def _file_in_memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tonnage-job")
    fd, path = tempfile.mkstemp(prefix="tonnage-job-")
    os.unlink(path)
    return fd
