"""One migration at a time: a lock that ends with its holder, waited for within bounds.

    with locked(url, wait_seconds=120, on_wait=told):
        ...

=============  ===============================================================================
PostgreSQL     an advisory lock of a session of its own: gone when the connection is
SQLite         a lock on a file beside the database, which is removed again: gone with the process
MySQL          ``GET_LOCK``, as with PostgreSQL
=============  ===============================================================================

It is asked for again and again rather than waited for in the database: a statement that waits
there holds a snapshot, for which ``CREATE INDEX CONCURRENTLY`` of the very migration that has the
lock would wait. Behind PgBouncer in transaction mode a session has no locks: connect directly.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tonnage.db.sessions import open_session, sqlite_path
from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tonnage.db.urls import DatabaseUrl

#: The number that PostgreSQL knows the lock by, one for each database: "tonnage" in ASCII.
LOCK_NUMBER: Final = int.from_bytes(b"tonnage")
_STEP_SECONDS: Final = 0.1


@contextmanager
def locked(
    url: DatabaseUrl,
    wait_seconds: float,
    on_wait: Callable[[], Any] = lambda: None,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of the database at *url*; *on_wait* is called once if another process has it.

    Raises:
        DatabaseError: it was not to be had within *wait_seconds*, or the database does not answer.
    """
    with _lock(url) as take:
        ends_at = clock() + wait_seconds
        is_told = False
        while not take():
            if clock() >= ends_at:
                raise DatabaseError(
                    f"another process has been migrating {url.shown} for {wait_seconds:g} s: "
                    "wait for it, or say --wait with more"
                )
            if not is_told:
                on_wait()
                is_told = True
            pause(_STEP_SECONDS)
        yield


@contextmanager
def _lock(url: DatabaseUrl) -> Iterator[Callable[[], bool]]:
    """Yield what tries to take the lock; it is given back in the end."""
    if url.dialect == "sqlite":
        path = sqlite_path(url)
        if path is None:
            yield lambda: True  # nobody else has a database in memory
            return
        # As the file itself is made, so is what it is to be in.
        path.parent.mkdir(parents=True, exist_ok=True)
        file = FileLock(path.with_name(f"{path.name}.migration-lock"))
        try:
            yield file.take
        finally:
            file.give_back()
        return
    with open_session(url) as session:
        if url.dialect == "postgresql":
            # A server may end idle sessions, and this one is idle as long as a migration runs.
            with suppress(DatabaseError):  # PostgreSQL 13 does not know it
                session.rows("SET idle_session_timeout = 0")
            statement = f"SELECT pg_try_advisory_lock({LOCK_NUMBER}) AS is_mine"
        else:
            # MySQL's locks are the server's: the database is part of the name, of 64 characters.
            statement = "SELECT GET_LOCK(LEFT(CONCAT('tonnage-', DATABASE()), 64), 0) AS is_mine"
        yield lambda: bool(session.rows(statement)[0]["is_mine"])


class FileLock:
    """A lock on a file that is there only while somebody has it, or waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take it, and return whether it could be had.

        Raises:
            DatabaseError: no file can be made there.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseError(f"cannot make {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have removed the file between our opening and locking it.
            if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                self._descriptor = descriptor
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return False

    def give_back(self) -> None:
        """Give it back, if it was taken."""
        if self._descriptor is not None:
            # First removed, then released: who has it open finds out that this is not the file.
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
