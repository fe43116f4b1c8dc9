"""A writer's records on disk: added by many, delivered by one.

Promises: what :meth:`Spool.add` has returned for is on the disk, and comes out of
:meth:`Spool.read` until :meth:`Spool.delivered` is called for it: here, or after a crash in the
process that adopts the journal. Where the disk takes no more, whoever adds is told so at once (or
waits, if the spool *waits*), what was taken before stays, and it goes on by itself when there is
room again. Nothing is opened, written or started before the first use; whoever forks makes another
in the child.

Bounded: on disk by *max_bytes* for all processes together, in memory by :data:`ON_THE_WAY_BYTES` of
what is on its way to the disk, and by what is asked of :meth:`Spool.read`. Delivers nothing itself.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError, SpoolError, StoreError, WriterFullError
from tonnage.stores.writer.spool.books import Books
from tonnage.stores.writer.spool.disk import Disk
from tonnage.stores.writer.spool.files import FILES, Files, is_full
from tonnage.stores.writer.spool.groups import Groups
from tonnage.stores.writer.spool.intake import Intake
from tonnage.stores.writer.spool.journal import Journal, Segment
from tonnage.stores.writer.spool.marks import Marks
from tonnage.stores.writer.spool.places import (
    LockedDirectory,
    Place,
    segment_bytes,
    segment_path,
    segments,
)
from tonnage.stores.writer.spool.replay import Chunk, Replay
from tonnage.units import KIB, MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

logger = logging.getLogger("tonnage.stores")

#: Payloads that wait for their fsync, of all callers together.
ON_THE_WAY_BYTES: Final = MIB
_GROUP_BYTES: Final = 256 * KIB
#: The least bound that makes sense: segments of 32 KB.
LEAST_BYTES: Final = MIB


class Spool:
    """The journals of one writer.

    Args:
        name: the writer's; those of the same name share the bound, also in other processes.
        directory: of all writers' spools; None: as the options say when it is first used.
        max_bytes: of journals on the disk.
        waits: whether whoever adds waits for room; else he is told that there is none.
        in_memory: whether the directory may be in memory, for what need not outlive the machine.
        files: the file system.
        clock: monotonic seconds.

    Raises:
        ConfigError: the bound is too small to be held.
    """

    def __init__(
        self,
        name: str,
        *,
        directory: str | os.PathLike[str] | None = None,
        max_bytes: int,
        waits: bool = False,
        in_memory: bool = False,
        files: Files = FILES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_bytes < LEAST_BYTES:
            raise ConfigError(
                f"writer {name!r}: a spool of {format_bytes(max_bytes)} is too small: give it"
                f" spool_bytes of {format_bytes(LEAST_BYTES)} at least"
            )
        self.name: Final = name
        self.max_bytes: Final = max_bytes
        self._directory = directory
        self._waits = waits
        self._in_memory = in_memory
        self._files = files
        self._clock = clock
        #: Called, in the disk's thread, when there is more to read, or somebody begins to wait.
        self.on_more: Callable[[], object] = lambda: None
        #: What one record takes at most, as bytes; and what is added all or none.
        self.largest_record_bytes: Final = segment_bytes(max_bytes) // 2
        self._groups = Groups(
            name,
            group_bytes=min(_GROUP_BYTES, self.largest_record_bytes),
            max_bytes=ON_THE_WAY_BYTES,
            on_new=lambda: self._on_disk().submit(self._commit),
        )
        self._intake = Intake(name, self._groups, self.largest_record_bytes)
        self._starting = threading.Lock()
        self._disk: Disk | None = None
        self._place: Place | None = None
        self._journal: Journal | None = None
        # The dead ones' first, each oldest first; then our own.
        self._adopted: deque[Replay] = deque()
        self._own: Replay | None = None
        #: Whether records wait for room on the disk.
        self.is_blocked = False
        # Whether it was said why none are taken.
        self._is_failing = False
        self._marks = Marks()
        self.books: Final = Books()

    # Adding, from any thread or event loop.

    async def add(self, records: Sequence[Mapping[str, Any]], *, first_ones: bool = False) -> None:
        """Add *records*; return when they are on the disk.

        Up to :attr:`largest_record_bytes` of them are added all or none.

        Args:
            records: plain values only, see :mod:`tonnage.stores.writer.spool.payload`.
            first_ones: whether of more those that were added, if not all, are the first ones; it
                takes an fsync for each :attr:`largest_record_bytes` then.

        Raises:
            RecordsRejectedError: one of them cannot be kept; none was added.
            WriterFullError: there is no room on the disk.
            SpoolError: the disk fails.
            WriterClosedError: the spool is closed.
        """
        await self._intake.add(records, one_by_one=first_ones)

    def put(
        self, records: Sequence[Mapping[str, Any]], timeout_seconds: float | None = None
    ) -> None:
        """Add *records* from a thread without an event loop; as :meth:`add` otherwise.

        Raises:
            WriterFullError: also: it was not on the disk within *timeout_seconds*. What the disk
                had begun with by then may get there all the same.
        """
        self._intake.put(records, timeout_seconds)

    # Delivering, in one event loop.

    async def read(self, most_records: int, most_bytes: int) -> Chunk | None:
        """Return the oldest records that are not delivered; None: there are none now.

        It returns the same again until :meth:`delivered` is called.

        Args:
            most_records: how many at most.
            most_bytes: of memory, for all of them; of a larger one, that one alone.

        Raises:
            OSError: the disk does not give them.
        """
        if self._own is None and not self._adopted:
            return None
        return await self._on_disk().run(self._read, most_records, most_bytes)

    async def delivered(self, chunk: Chunk) -> None:
        """Never give out *chunk* again, and have its room on the disk back."""
        await self._on_disk().run(self._delivered, chunk)

    async def adopt(self) -> bool:
        """Take over what processes that are dead have left; return whether there is anything.

        Raises:
            SpoolError: the directory cannot be used; the log has a line, once.
            OSError: what one of them has left cannot be read; all else is taken over.
        """
        return await self._on_disk().run(self._adopt)

    async def retry(self) -> None:
        """Try again to write what waits for room; needed where another process makes it."""
        if self.is_blocked:
            await self._on_disk().run(self._commit)

    async def close(self) -> None:
        """Take no more, write what is on its way, let go of all files. What is left stays."""
        self._groups.close()
        if self._disk is not None:
            disk = self._disk
            await disk.run(self._close)
            disk.end()

    # What it holds.

    @property
    def is_empty(self) -> bool:
        """Whether all that is known of was delivered."""
        return not self._adopted and self.books.waiting == 0

    @property
    def adopting(self) -> bool:
        """Whether there are records of dead processes to deliver."""
        return bool(self._adopted)

    @property
    def on_the_way(self) -> int:
        """Records in memory, on their way to the disk."""
        return self._groups.count

    @property
    def on_the_way_bytes(self) -> int:
        """What they take."""
        return self._groups.size_bytes

    @property
    def lag_seconds(self) -> float:
        """Since when the oldest record of this process waits."""
        now = self._clock()
        return now - self._marks.oldest_seconds(now)

    # In the disk's thread.

    def _on_disk(self) -> Disk:
        if self._disk is None:
            with self._starting:
                if self._disk is None:
                    self._disk = Disk(self.name)
        return self._disk

    def _open_place(self) -> Place:
        if self._place is None or not self._place.path.is_dir():
            directory = self._directory
            if directory is None:
                from tonnage.stores.settings import current

                directory = current().spool_dir
            place = Place(Path(directory), self.name, self.max_bytes, in_memory=self._in_memory)
            place.make()
            self._place = place
        return self._place

    def _open_journal(self) -> Journal:
        if self._journal is None:
            place = self._open_place()
            directory = place.new_journal()
            try:
                number = self.books.stored + 1
                journal = Journal(place, directory, self._files, first_number=number)
                self._own = Replay(place, directory, journal.segments, is_live=True)
            except OSError:
                directory.remove()
                raise
            self._journal = journal
        return self._journal

    def _append(self, payloads: list[bytes]) -> int:
        try:
            return self._open_journal().append(payloads)
        except FileNotFoundError:
            # Somebody has removed the directory, or moved it away.
            self._leave_journal()
            return self._open_journal().append(payloads)

    def _leave_journal(self) -> None:
        """Have a new journal; what can be read of the old one still is delivered first."""
        if self._journal is None or self._own is None:
            return
        logger.error(
            "spool of writer %s: %s was removed or moved while it was in use; records are kept in"
            " a new one",
            self.name,
            self._journal.directory.path,
        )
        self._journal.end_segment()
        self._own.is_live = False
        self._note_delivered(self.books.stored, self.books.stored_bytes)
        self.books.adopted_bytes += self._own.left_bytes
        self._adopted.append(self._own)
        self._own = self._journal = None

    def _commit(self) -> None:
        """Write one group, and say so to all that wait for it."""
        payloads = self._groups.begin()
        if payloads is None:
            return
        error = self._store(payloads)
        if error is not None and self._waits and isinstance(error, WriterFullError):
            self._groups.postpone()
            if not self.is_blocked:
                self.is_blocked = True
                self.on_more()
            return
        more = self._groups.end(error)
        if more and self.is_blocked:
            # Those whose turn came meanwhile.
            self._on_disk().submit(self._commit)
        else:
            self.is_blocked = False
        if error is None:
            self.on_more()

    def _store(self, payloads: list[bytes]) -> StoreError | None:
        """Write *payloads*; return why they are not on the disk."""
        found: StoreError
        try:
            written = self._append(payloads) if payloads else 0
        except StoreError as error:
            found = error
        except OSError as error:
            why = f"writer {self.name!r} cannot keep a record on disk: {error.strerror}"
            if is_full(error):
                found = WriterFullError(f"{why}; records are refused until there is room")
            else:
                found = SpoolError(f"{why}; look at the disk of {self._directory_name()}")
        except Exception as error:  # noqa: BLE001  (whatever it is, those who wait are told)
            found = SpoolError(f"writer {self.name!r} cannot keep a record on disk: {error!r}")
        else:
            if self._is_failing:
                self._is_failing = False
                logger.warning("spool of writer %s: records are taken again", self.name)
            self.books.stored += len(payloads)
            self.books.stored_bytes += written
            self._marks.add(self.books.stored, self._clock())
            return None
        if not (self._waits and isinstance(found, WriterFullError)):
            self.books.refused += len(payloads)
        self._say(found)
        return found

    def _say(self, error: StoreError) -> None:
        if not self._is_failing:
            self._is_failing = True
            # It names the writer.
            logger.error("%s", error)

    def _directory_name(self) -> str:
        return str(self._place.path) if self._place else "the spool"

    def _read(self, most_records: int, most_bytes: int) -> Chunk | None:
        while self._adopted:
            chunk = self._adopted[0].read(most_records, most_bytes)
            if chunk is not None:
                return chunk
            self._let_go(self._adopted.popleft())
            if not self._adopted:
                self.books.adopted_bytes = 0  # what could not be read is gone too
        if self._own is None:
            return None
        chunk = self._own.read(most_records, most_bytes)
        if chunk is None:
            # Also where some could not be read.
            self._note_delivered(self.books.stored, self.books.stored_bytes)
        return chunk

    def _note_delivered(self, count: int, size_bytes: int) -> None:
        self.books.own_delivered, self.books.delivered_bytes = count, size_bytes
        self._marks.remove(count)

    def _let_go(self, replay: Replay) -> None:
        logger.info("spool of writer %s: %s is delivered", self.name, replay.directory.path)
        replay.close()

    def _delivered(self, chunk: Chunk) -> None:
        chunk.replay.delivered(chunk)
        if chunk.replay is self._own:
            self._note_delivered(chunk.last_number, self.books.delivered_bytes + chunk.size_bytes)
        else:
            self.books.adopted_bytes -= chunk.size_bytes
        if self.is_blocked:
            self._commit()

    def _adopt(self) -> bool:
        try:
            place = self._open_place()
        except SpoolError as error:
            self._say(error)
            raise
        failed: OSError | None = None
        for directory in place.free_journals():
            try:
                replay = _replay_of(place, directory)
            except OSError as error:
                # The others are taken over nevertheless.
                failed = error
                continue
            if replay.is_exhausted():
                replay.close()
                continue
            logger.warning(
                "spool of writer %s: a process ended before its records were delivered; they are"
                " now, from %s",
                self.name,
                directory.path,
            )
            self._adopted.append(replay)
            self.books.adopted_bytes += replay.left_bytes
        if failed is not None:
            raise failed
        return bool(self._adopted)

    def _close(self) -> None:
        # What finds no room now is refused, and counted as such.
        self._waits = False
        while (payloads := self._groups.begin()) is not None:
            self._groups.end(self._store(payloads))
        if self._journal is not None:
            self._journal.end_segment()
        for replay in (*self._adopted, *([self._own] if self._own else [])):
            replay.close()
        self._adopted.clear()
        self._own = self._journal = None


def _replay_of(place: Place, directory: LockedDirectory) -> Replay:
    try:
        found = [
            Segment(number, segment_path(directory.path, number).stat().st_size)
            for number in segments(directory.path)
        ]
        return Replay(place, directory, deque(found), is_live=False)
    except OSError:
        # It is tried again, here or elsewhere.
        directory.close()
        raise
