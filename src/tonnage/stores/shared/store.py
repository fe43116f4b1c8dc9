"""The file of a shared level: an LMDB environment, opened, written and thrown away with care.

    tables = store.begin()                   # and tables.transaction.abort()
    store.write(lambda tables: ...)          # None: it could not be

Reading takes no lock and waits for nobody. Writing takes turns, and waits for its turn for
:data:`TURN_SECONDS` at most, and then not at all for a while: whoever has it may have been stopped,
and an event loop is waiting.

What makes it safe, and fast. A process that is killed leaves the file whole: pages are copied
before they are changed, and the root that names them is written last; a lock that it held is
free (a robust mutex). Nothing is synced to the disk (``MDB_NOSYNC``), since a cache may be lost:
after the machine itself went down the file is not used again (:mod:`.directory`). Pages are written
with ``pwrite`` and not through the map (no ``MDB_WRITEMAP``): a full disk is then an error and not
a SIGBUS, and what is mapped can be let go of at any time (:mod:`.mapped`). A reader that was killed
leaves its place in the readers' table, which would keep old pages in use: such are looked for when
the file is opened and when it is full.

A file that LMDB cannot read is thrown away when it is opened, unless another process uses it. An
environment must not pass a fork: a child opens its own.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tonnage.errors import ConfigError, StoreError
from tonnage.stores.shared.mapped import find_maps, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

R = TypeVar("R")

logger = logging.getLogger("tonnage.stores")

#: How long a write waits for its turn. Each takes some ten microseconds.
TURN_SECONDS: Final = 0.05
#: After one has waited in vain, for so long the others only try.
HOPELESS_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.00005
_OPEN_SECONDS: Final = 5.0
#: Processes and threads that read at the same moment.
MOST_READERS: Final = 256
_FILE_MODE: Final = 0o600


class Tables:
    """One transaction, and the tables in it."""

    __slots__ = ("index", "queue", "transaction")

    def __init__(self, transaction: Any, index: Any, queue: Any) -> None:
        self.transaction = transaction
        self.index = index
        self.queue = queue


class Store:
    """An open file; one for each path and process (:func:`open_store`)."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        lmdb = load_lmdb()
        self.path = path
        self.size_bytes = size_bytes
        self._full = lmdb.MapFullError
        #: What goes wrong with files.
        self.error: Final[type[Exception]] = lmdb.Error
        self._turn = threading.Lock()
        self._hopeless_until_seconds = 0.0
        # Locked by whoever writes, and by all who have it open.
        self._gate, self._use = _lock_file(path, ".turn"), _lock_file(path, ".use")
        self._closing = weakref.finalize(self, _close, self._gate, self._use)
        try:
            with self._in_turn(_OPEN_SECONDS) as is_mine:
                if not is_mine:
                    raise StoreError(f"{path} cannot be opened: another process is at it")
                self._open_or_make(lmdb)
        except lmdb.Error as error:
            raise StoreError(f"{path} cannot be opened: {error}") from error

    def _open_or_make(self, lmdb: Any) -> None:
        unreadable = (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError)
        try:
            self._open(lmdb)
        except (*unreadable, lmdb.PanicError, lmdb.PageNotFoundError) as error:
            # Whoever has it open would go on with what is thrown away.
            if not _try_lock(self._use):
                raise
            logger.warning("%s is thrown away and made anew: %s", self.path, error)
            for each in (self.path, self.path.with_name(f"{self.path.name}-lock")):
                each.unlink(missing_ok=True)
            self._open(lmdb)
        fcntl.flock(self._use, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Let go of the locks that a child has from its parent."""
        self._closing()

    def close(self) -> None:
        """Let go of what a child has from its parent."""
        self._environment.close()

    def _open(self, lmdb: Any) -> None:
        environment = lmdb.open(
            str(self.path),
            subdir=False,
            map_size=self.size_bytes,
            max_dbs=2,
            max_readers=MOST_READERS,
            # A transaction that waits to be used again has a place in the readers' table, which a
            # forked child would give up in its parent's name.
            max_spare_txns=0,
            sync=False,
            metasync=False,
            readahead=False,
            meminit=False,
            mode=_FILE_MODE,
        )
        try:
            environment.reader_check()
            self._index = environment.open_db(b"index")
            self._queue = environment.open_db(b"queue")
        except BaseException:
            environment.close()
            raise
        self._environment = environment
        self._begin = environment.begin
        self.maps = find_maps(self.path)
        mapped.join(self)

    def begin(self) -> Tables:
        """Return the tables as they are now; whoever gets them ends their transaction, soon."""
        return Tables(self._begin(), self._index, self._queue)

    def write(
        self, work: Callable[[Tables], R], *make_room: Callable[[Tables], object]
    ) -> R | None:
        """Have *work* done as a whole, and return what it returns; None: it could not be.

        Args:
            work: what is to be done.
            make_room: take out what can go, where there was no page left for it; one after the
                other, until it can be done.

        Raises:
            Store.error: something is wrong with the file, or the disk.
        """
        is_hopeful = time.monotonic() >= self._hopeless_until_seconds
        with self._in_turn(TURN_SECONDS if is_hopeful else 0.0) as is_mine:
            if not is_mine:
                if is_hopeful:
                    self._hopeless_until_seconds = time.monotonic() + HOPELESS_SECONDS
                return None
            try:
                return self._commit(work)
            except self._full:
                self._environment.reader_check()
            for each in make_room:
                try:
                    self._commit(each)
                    return self._commit(work)
                except self._full:
                    continue
            return None

    def _commit(self, work: Callable[[Tables], R]) -> R:
        transaction = self._begin(write=True)
        try:
            found = work(Tables(transaction, self._index, self._queue))
            transaction.commit()
            return found
        except BaseException:
            transaction.abort()
            raise

    @contextmanager
    def _in_turn(self, seconds: float) -> Iterator[bool]:
        """Have the others wait, threads and processes; False: the turn did not come in time."""
        if not self._turn.acquire(timeout=seconds):
            yield False
            return
        try:
            until = time.monotonic() + seconds
            while not (is_mine := _try_lock(self._gate)) and time.monotonic() < until:
                time.sleep(_LOOK_SECONDS)
            try:
                yield is_mine
            finally:
                if is_mine:
                    fcntl.flock(self._gate, fcntl.LOCK_UN)
        finally:
            self._turn.release()


def _lock_file(path: Path, suffix: str) -> int:
    return os.open(path.with_suffix(suffix), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def load_lmdb() -> Any:
    """Return the library; what is imported before workers are forked, they have together.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import lmdb
    except ImportError:
        raise ConfigError(
            "a cache with shared=... needs LMDB: pip install 'tonnage[shared]'"
        ) from None
    return lmdb


_opening = threading.Lock()
_stores: weakref.WeakValueDictionary[Path, Store] = weakref.WeakValueDictionary()
# What a parent had open when this process was forked. Nobody touches it, and it is closed only
# where the same file is opened here: what a thread of the parent was just reading is given up then.
_inherited: dict[Path, Store] = {}


def open_store(path: Path, size_bytes: int) -> Store:
    """Return the store in *path*, opened once in a process.

    Raises:
        StoreError: it cannot be opened.
        ConfigError: LMDB is not installed.
    """
    with _opening:
        found = _stores.get(path)
        if found is None:
            if path in _inherited:
                _inherited.pop(path).close()
            found = _stores[path] = Store(path, size_bytes)
        return found


def _after_fork() -> None:
    global _opening, _stores  # both were the parent's
    for path, store in list(_stores.items()):
        store.leave()
        _inherited[path] = store
    _opening, _stores = threading.Lock(), weakref.WeakValueDictionary()


os.register_at_fork(after_in_child=_after_fork)
