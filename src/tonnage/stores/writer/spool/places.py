"""Where journals lie, whose they are, and how much room there is for them.

    spool_dir/WRITER/               0700
        0199a3f2b4c1c3d4e5f6/       a journal: one for each process, locked while that lives
            00000001.records        its segments, of at most ``segment_bytes`` each
            delivered               up to where a sink has them
        unreadable/                 what could not be read, for a person to look at

Promises: a journal has one owner at a time, also on another machine where the file system's locks
work there, and the lock of a dead process is free. All journals of a writer together have no more
segments than its bound allows: counted in the directory itself before each new one, under a lock.
The directory is on a disk, as far as can be seen (:mod:`tonnage.host.filesystems`).

A journal's name begins with the time it was made, so sorted by name the oldest comes first.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.errors import SpoolError, WriterFullError
from tonnage.host.filesystems import in_memory_as
from tonnage.stores.writer.spool.files import DIRECTORY_MODE, FILE_MODE, FILES
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX: Final = ".records"
#: Segments of at most so many bytes: what is delivered frees room in such steps.
LARGEST_SEGMENT_BYTES: Final = 8 * MIB
# A spool has so many segments at least, so that one for each worker is but a part of it.
_LEAST_SEGMENTS: Final = 32
_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_JOURNAL: Final = re.compile("[0-9a-f]{20}")
# File names end at 255 bytes.
_LONGEST_NAME: Final = 200


class Place:
    """The directory of one writer.

    Args:
        spool_dir: the directory of all writers.
        name: the writer's.
        max_bytes: what its journals take at most, of all processes together.
        in_memory: whether a file system in memory will do; what is there dies with the machine.
    """

    def __init__(
        self, spool_dir: Path, name: str, max_bytes: int, *, in_memory: bool = False
    ) -> None:
        self.path: Final = spool_dir / safe_name(name)
        self.max_bytes: Final = max_bytes
        self.segment_bytes: Final = segment_bytes(max_bytes)
        self._name = name
        self._in_memory = in_memory

    def make(self) -> None:
        """See to it that the directory is there, and fit.

        Raises:
            SpoolError: it cannot be made or written, or it is in memory.
        """
        try:
            if not self.path.is_dir():
                self.path.parent.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
                self.path.mkdir(DIRECTORY_MODE, exist_ok=True)
                FILES.sync_directory(self.path.parent)
                FILES.sync_directory(self.path.parent.parent)
        except OSError as error:
            raise SpoolError(
                f"writer {self._name!r} cannot keep records in {self.path}: {error.strerror};"
                " name a directory that can be written with --spool-dir"
            ) from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise SpoolError(
                f"writer {self._name!r} cannot keep records in {self.path}: it may not be written;"
                " name another directory with --spool-dir"
            )
        kind = None if self._in_memory else in_memory_as(self.path)
        if kind is not None:
            raise SpoolError(
                f"writer {self._name!r} would keep records in memory: {self.path} is on a {kind},"
                " which counts as memory and is gone with the container; name a directory on a"
                " disk or a volume with --spool-dir"
            )

    def new_journal(self) -> LockedDirectory:
        """Return the directory of a new journal, locked.

        Raises:
            OSError: it cannot be made.
        """
        while True:
            name = f"{time.time_ns() // 1_000_000:011x}{secrets.token_hex(5)[1:]}"
            os.mkdir(self.path / name, DIRECTORY_MODE)
            FILES.sync_directory(self.path)
            # Whoever looks for journals of the dead may have it for one just now, and remove it.
            found = lock(self.path / name)
            if found is not None:
                return found

    def free_journals(self) -> Iterator[LockedDirectory]:
        """Yield those that no living process has, the oldest first; each is locked now."""
        for path in self._journals():
            found = lock(path)
            if found is not None:
                yield found

    @contextmanager
    def room_for_segment(self) -> Iterator[None]:
        """Have room for one more segment, which is to be made inside.

        Raises:
            WriterFullError: there is none.
            OSError: the directory cannot be read.
        """
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if (self.count_segments() + 1) * self.segment_bytes > self.max_bytes:
                raise WriterFullError(
                    f"the spool of writer {self._name!r} is full: {format_bytes(self.max_bytes)} in"
                    f" {self.path} wait for its sink; records are refused until some are delivered"
                )
            yield
        finally:
            os.close(fd)

    def count_segments(self) -> int:
        """Return how many segments there are, of all processes."""
        return sum(len(segments(path)) for path in self._journals())

    def set_aside(self, path: Path, begin: int, end: int) -> Path | None:
        """Keep what is in *path* from *begin* to *end*; return where, None if that cannot be.

        Together they come to the spool's own bound at most, beside it: a person has to look.
        """
        directory = self.path / "unreadable"
        kept = directory / f"{path.parent.name}-{path.stem}-{begin}"
        try:
            directory.mkdir(DIRECTORY_MODE, exist_ok=True)
            if len(os.listdir(directory)) >= _LEAST_SEGMENTS:
                return None
            with path.open("rb") as source:
                source.seek(begin)
                piece = source.read(min(end - begin, self.segment_bytes))
            fd = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
            with open(fd, "wb") as target:
                target.write(piece)
        except OSError:
            return None
        return kept

    def _journals(self) -> list[Path]:
        names = (name for name in os.listdir(self.path) if _JOURNAL.fullmatch(name))
        return [self.path / name for name in sorted(names)]


class LockedDirectory:
    """A journal's directory, as long as this process has it."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path: Final = path
        self._fd = fd
        _held.add(self)

    @property
    def name(self) -> str:
        """The journal's."""
        return self.path.name

    def remove(self) -> None:
        """Take it away if it is empty but for what says how far it was delivered; let go of it."""
        if not segments(self.path):
            (self.path / "delivered").unlink(missing_ok=True)
            with suppress(OSError):
                # Where somebody keeps a file there, nothing of it is ours.
                self.path.rmdir()
        self.close()

    def close(self) -> None:
        """Let another process have it. Any number of times."""
        if self._fd >= 0:
            _held.discard(self)
            fd, self._fd = self._fd, -1
            os.close(fd)


# Those of this process; a few for each spool.
_held: set[LockedDirectory] = set()


def _after_fork() -> None:
    # The lock is the parent's. With the child's descriptor open, it would outlive the parent.
    for each in list(_held):
        each.close()


os.register_at_fork(after_in_child=_after_fork)


def lock(path: Path) -> LockedDirectory | None:
    """Return the directory *path*, locked; None: somebody else has it, or it is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Not a lock of the POSIX kind: that is lost when the process closes any descriptor of the
        # file, and does not keep out another writer of the same process.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who had it before may have removed it.
        if os.path.samestat(os.fstat(fd), os.stat(path)):
            return LockedDirectory(path, fd)
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def segments(journal: Path) -> list[int]:
    """Return the numbers of the segments of *journal*, in order; none where it is gone."""
    try:
        names = os.listdir(journal)
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = (name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def segment_bytes(max_bytes: int) -> int:
    """Return what one segment of a spool of *max_bytes* takes at most."""
    return min(LARGEST_SEGMENT_BYTES, max_bytes // _LEAST_SEGMENTS)


def segment_path(journal: Path, number: int) -> Path:
    """Return where segment *number* of *journal* lies."""
    return journal / f"{number:08d}{SUFFIX}"


def safe_name(name: str) -> str:
    """Return *name* so that it can be a file's; different names stay different."""
    safe = "".join(
        each if each in _SAFE else "".join(f"%{byte:02X}" for byte in each.encode())
        for each in name
    )
    if safe.startswith("."):
        safe = f"%2E{safe[1:]}"
    if not safe or len(safe) > _LONGEST_NAME:
        raise SpoolError(f"{name!r} cannot be a writer's name: it has to fit into a file's")
    return safe
