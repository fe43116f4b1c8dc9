"""A level of a cache that all workers of a machine have in common, once.

    level = SharedLevel("events", 64 * MIB)      # a Level (tonnage.stores.levels)

What one worker has made, the others find, also those that come later: it lies on the disk
(:mod:`.store`), so recycling a worker loses nothing, and its pages are file cache, which the kernel
takes back when memory is short, but for some MB that a worker has mapped (:mod:`.mapped`). Reading
takes microseconds, and so does writing, which has to wait for other writers.

Bounded in bytes of its file. Who leaves when it is full, and how what was forgotten stays
forgotten, is :mod:`.contents`'. Where something cannot be written down as forgotten, everything
counts as forgotten: that takes one word in shared memory
(:meth:`~tonnage.stores.bulletin.Bulletin.clears`).

Values are written by pickle, since the directory is open to its owner alone; or by a codec.
"""

from __future__ import annotations

import logging
import os
import pickle
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tonnage.errors import ConfigError, StoreError
from tonnage.host.commons import share
from tonnage.stores.bulletin import bulletin
from tonnage.stores.levels import Found, Look
from tonnage.stores.names import digest_of
from tonnage.stores.settings import current
from tonnage.stores.shared import queue
from tonnage.stores.shared.contents import BEFORE_ALL, MARKS, Contents
from tonnage.stores.shared.directory import shared_directory
from tonnage.stores.shared.mapped import mapped
from tonnage.stores.shared.records import (
    BYTES,
    CODED,
    FORM,
    MOST_TAG_BYTES,
    MOST_TAGS,
    NO_KEY,
    NO_TAG,
    Record,
)
from tonnage.stores.shared.store import load_lmdb, open_store
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tonnage.stores.levels import Codec
    from tonnage.stores.shared.store import Store, Tables

R = TypeVar("R")

logger = logging.getLogger("tonnage.stores")

LEAST_BYTES: Final = MIB
#: After something went wrong with the file, it is tried again.
RETRY_SECONDS: Final = 60.0

# Shared by workers: up to which clearing the file is clear, and the marks.
_MARKS_AT: Final = 4096
# Nothing that was made as of this is kept: all was cleared since.
_NEVER: Final = (-1, BEFORE_ALL)


class SharedLevel:
    """The level of one cache.

    Args:
        name: the cache's; those of one name have the same.
        size_bytes: what its file takes at most.
        codec: writes values; None: pickle.
        clock: seconds since 1970.

    Raises:
        ConfigError: it is too small, or LMDB is not installed.
    """

    def __init__(
        self,
        name: str,
        size_bytes: int,
        codec: Codec | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if size_bytes < LEAST_BYTES:
            raise ConfigError(
                f"cache {name!r}: what workers share needs {format_bytes(LEAST_BYTES)} at least,"
                f" and not {format_bytes(size_bytes)}"
            )
        load_lmdb()
        self._name = name
        self.size_bytes: Final = size_bytes
        self._codec = codec
        self._clock = clock
        self._whose = digest_of(name)
        self._board = bulletin()
        region = share(f"shared {self._whose.hex()}", _MARKS_AT + MARKS)
        self._state = region.words
        self._contents = Contents(size_bytes, region.bytes[_MARKS_AT:], clock)
        # Opened when it is needed: a child that is forked opens its own.
        self._store: Store | None = None
        _levels.add(self)
        self._retry_at_seconds = 0.0
        self._complained: set[str] = set()

    # As a level.

    def look(self, key: str, tags: Sequence[str] = ()) -> Look:
        """Return what there is of *key*; *tags* need not be known."""
        store = self._store or self._opened()
        if store is None:
            return Look(None, _NEVER)
        digest = _key(key)
        clears = self._board.clears(self._whose)
        try:
            tables = store.begin()
            try:
                as_of = (clears, tables.transaction.id())
                # Cleared, and nobody has written since.
                is_void = clears != self._state[0]
                record = None if is_void else self._contents.find(tables, digest)
            finally:
                tables.transaction.abort()
        except (store.error, ValueError) as error:
            self._fail(error)
            return Look(None, _NEVER)
        mapped.note_read(0 if record is None else len(record.value))
        if record is None:
            return Look(None, as_of)
        self._contents.mark(digest)
        try:
            value = record.value if record.kind == BYTES else self._loads(record.value)
        except Exception as error:  # noqa: BLE001  (the codec's, or a class that is not there now)
            self._complain("cannot be read again", error)
            return Look(None, as_of)
        left_seconds = record.expires_seconds - self._clock()
        return Look(Found(value, left_seconds, tuple(text for text, _ in record.tags)), as_of)

    def keep(
        self, key: str, value: Any, *, as_of: object, lasts_seconds: float, tags: Sequence[str] = ()
    ) -> bool:
        """Keep *value*; return whether it could, and nothing was forgotten meanwhile."""
        if lasts_seconds <= 0 or len(tags) > MOST_TAGS or any(map(_is_long, tags)):
            return False
        try:
            data = value if type(value) is bytes else self._dumps(value)
        except Exception as error:  # noqa: BLE001  (the codec's: what a value is made of is not ours)
            self._complain(f"cannot be written ({type(value).__qualname__})", error)
            return False
        kind = BYTES if type(value) is bytes else CODED
        digest = _key(key)
        tagged = tuple((tag, _tag(tag)) for tag in tags)
        expires_seconds = self._clock() + lasts_seconds

        def put(tables: Tables) -> bool:
            moment = self._moment(tables, as_of)
            record = Record(kind, digest, moment, expires_seconds, tagged, data)
            return self._contents.put(tables, record)

        return bool(self._write(put, len(data)))

    def forget_key(self, key: str) -> None:
        """Have *key* not found any more; also what is being made for it just now."""
        self._forget(NO_KEY, [_key(key)])

    def forget_tags(self, tags: Sequence[str]) -> None:
        """Have nothing found any more that has any of *tags*; nor what is being made with them."""
        self._forget(NO_TAG, [_tag(tag) for tag in tags])

    def clear(self) -> None:
        """Have nothing found any more; nor what is being made."""
        self._board.count_clear(self._whose)
        self.settle()

    def settle(self) -> None:
        """Give back what takes room although it was cleared, and let go of what is mapped."""
        if self._board.clears(self._whose) != self._state[0]:
            self._write(lambda tables: True)
        mapped.shrink(0)

    def used_bytes(self) -> int:
        """Return what it takes of its bound, in file cache and on the disk."""
        store = self._store or self._opened()
        if store is None or self._board.clears(self._whose) != self._state[0]:
            return 0
        try:
            tables = store.begin()
            try:
                return queue.used_bytes(tables)
            finally:
                tables.transaction.abort()
        except store.error as error:
            self._fail(error)
            return 0

    def _moment(self, tables: Tables, as_of: object) -> int:
        """Return the moment that *as_of* is; one before all others where all was cleared since."""
        if as_of is None:
            return int(tables.transaction.id())
        assert isinstance(as_of, tuple)
        clears, moment = as_of
        return int(moment) if clears == self._board.clears(self._whose) else BEFORE_ALL

    def _forget(self, kind: int, digests: Sequence[bytes]) -> None:
        if not self._write(lambda tables: self._contents.forget(tables, kind, digests)):
            # Whatever is wrong: it must not be found.
            self._board.count_clear(self._whose)

    def _write(self, work: Callable[[Tables], R], data_bytes: int = 0) -> R | None:
        """Have *work* done, which makes room for so many bytes; None: it could not be."""
        store = self._store or self._opened()
        if store is None:
            return None
        cleared: list[int] = []

        def whole(tables: Tables) -> R:
            clears = self._board.clears(self._whose)
            cleared[:] = [clears]
            if clears != self._state[0]:
                # Who has looked since then may keep what he makes; who has looked before may not.
                queue.empty(tables)
            return work(tables)

        try:
            found = store.write(whole, self._contents.shorten, self._contents.empty)
        except (store.error, ValueError) as error:
            self._fail(error)
            return None
        mapped.note_read(data_bytes)
        if found is not None and cleared[0] != self._state[0]:
            self._state[0] = cleared[0]
        return found

    def _opened(self) -> Store | None:
        """Return the file, opened; None: it cannot be just now."""
        if time.monotonic() < self._retry_at_seconds:
            return None
        name = f"{self._whose.hex()}-{self.size_bytes}-{FORM}.mdb"
        try:
            self._store = open_store(shared_directory(current().cache_dir) / name, self.size_bytes)
        except (StoreError, OSError) as error:
            self._fail(error)
        return self._store

    def _fail(self, error: Exception) -> None:
        """Do without the file for a while."""
        self._store = None
        self._retry_at_seconds = time.monotonic() + RETRY_SECONDS
        logger.warning(
            "cache %r goes on without what workers share, for %g s: %s",
            self._name,
            RETRY_SECONDS,
            error,
        )

    # Values.

    def _dumps(self, value: Any) -> bytes:
        return (self._codec or pickle).dumps(value)

    def _loads(self, data: bytes) -> Any:
        # Of pickles, only those that this user has written: nobody else can.
        return (self._codec or pickle).loads(data)

    def _complain(self, what: str, error: Exception) -> None:
        # What there is to say is bounded by the types of values; said once.
        if what not in self._complained and len(self._complained) < 100:
            self._complained.add(what)
            logger.warning(
                "cache %r: a value %s, and is kept by each worker alone: %s",
                self._name,
                what,
                error,
            )


_levels: weakref.WeakSet[SharedLevel] = weakref.WeakSet()


def _after_fork() -> None:
    for level in tuple(_levels):
        level._store = None


os.register_at_fork(after_in_child=_after_fork)


def _key(name: str) -> bytes:
    return digest_of(f"key {name}")


def _tag(tag: str) -> bytes:
    return digest_of(f"tag {tag}")


def _is_long(tag: str) -> bool:
    return len(tag) > MOST_TAG_BYTES // 4
