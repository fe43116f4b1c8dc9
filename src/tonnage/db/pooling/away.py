"""Whether to try for a connection at all: a circuit breaker for one database.

    door = Door("database", "postgresql://app:***@db/shop")
    door.check()                       # DatabaseAwayError at once, while it is away
    try:
        connection = connect()
    except Exception as error:
        raise door.failed(error) from error
    door.came()

Promises: while the database is away nobody queues for it. One at a time tries, at intervals of
:data:`MOST_BACKOFF_SECONDS` at most; the others hear at once that it is away. The first attempt
that succeeds lets everybody in again, and so does a second in which nobody has asked: nothing runs
in the background for it. An outage is told once in the log, and its end once. Every refusal has a
cause that says what the driver said.

Does not connect, and does not know of pools. Holds a few numbers and a line of text. What no
waiting mends, such as a wrong password, is no outage: :func:`is_away` tells. psycopg and MySQL's
drivers have no code for that, only the server's words; where they are not English, it is taken for
an outage.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from typing import TYPE_CHECKING, Final

from tonnage.breaker import Breaker, State, backoff_seconds
from tonnage.errors import DatabaseAwayError, DatabaseError, PoolBusyError
from tonnage.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tonnage.db")

RETRY_AFTER_SECONDS: Final = 1
#: Between a worker's attempts while the database is away: so long at most do its requests fail
#: after it takes connections again. What it costs is one refused connection each.
MOST_BACKOFF_SECONDS: Final = 0.1
#: An attempt that has said nothing for so long does not keep others from trying.
FORGOTTEN_SECONDS: Final = 60.0
#: What was found out longer ago says little: a database that nobody has asked since may be back.
STALE_SECONDS: Final = 1.0
#: Then all who come within so long of the first may try, as if nothing were known.
WELCOME_SECONDS: Final = 0.25
#: Classes of SQLSTATE: connections fail, there is no room for one, an operator intervenes.
_AWAY_CLASSES: Final = ("08", "53", "57P")
_AWAY_KINDS: Final = ("OperationalError", "InterfaceError", "TargetServerAttributeNotMatched")
#: Where there is no SQLSTATE: what a server or a driver says when the configuration is wrong.
_MISTAKES: Final = re.compile(
    r"does not (exist|support|match)|authentication failed|no password supplied|access denied"
    r"|permission denied|not permitted to log in|unknown database|pg_hba\.conf|unrecognized"
    r"|\binvalid\b|requires a value|certificate verify failed",
    re.IGNORECASE,
)
_FULL: Final = re.compile(
    r"too many (clients|connections)|connection slots are reserved|max_user_connections"
    r"|no more connections allowed",
    re.IGNORECASE,
)
#: ``sqlite3.SQLITE_BUSY``, without an import of what few need.
_SQLITE_BUSY: Final = 5
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")


class Door:
    """What is known of one database: is it there, and whose turn is it to try?

    Args:
        name: of the pool, for the log.
        shown: where the database is, without a password.
        clock: seconds that only go forward.
    """

    def __init__(self, name: str, shown: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = f"{name} ({shown})"
        self._name = name
        self._clock = clock
        self.begin_anew()

    @property
    def is_away(self) -> bool:
        """Whether the last attempt has failed."""
        return self._breaker.state is State.AWAY

    def begin_anew(self) -> None:
        """Forget what was known; called in a forked child."""
        self._lock = threading.Lock()
        self._breaker = Breaker()
        # Whose attempt may come next, and when the one that is under way began.
        self._next_seconds = float("-inf")
        self._trying_seconds = float("-inf")
        # When the last one failed, and until when all may try again.
        self._failed_seconds = self._welcome_seconds = float("-inf")
        # Not the error itself, which would hold what its traceback does.
        self._said = ""
        self._is_full = False

    def check(self) -> None:
        """Let whoever wants to connect go on, or not.

        Whoever may go on while it is away has to say how it ended: :meth:`failed`, :meth:`came` or
        :meth:`gave_up`.

        Raises:
            DatabaseAwayError: it is away, and it is not time to try again, or another tries.
        """
        with self._lock:
            if self._breaker.state is not State.AWAY:
                return
            now = self._clock()
            if now < self._welcome_seconds:
                return
            if now >= self._next_seconds and now - self._trying_seconds > FORGOTTEN_SECONDS:
                self._trying_seconds = now
                if now - self._failed_seconds > STALE_SECONDS:
                    self._welcome_seconds = now + WELCOME_SECONDS
                return
        raise self.refusal()

    def refusal(self) -> DatabaseAwayError:
        """Return what to raise for whoever does not try himself; its cause says why."""
        refused = full(self._name) if self._is_full else away(self._name)
        refused.__cause__ = DatabaseError(self._said)
        return refused

    def failed(self, error: BaseException) -> DatabaseAwayError:
        """Note that an attempt has ended with *error*; return what to raise from it."""
        with self._lock:
            self._said, self._is_full = said(error), is_full(error)
            now = self._failed_seconds = self._clock()
            self._welcome_seconds = float("-inf")
            is_told = self._breaker.lose(now)
            wait_seconds = min(backoff_seconds(self._breaker.retries), MOST_BACKOFF_SECONDS)
            self._next_seconds = now + wait_seconds
            self._trying_seconds = float("-inf")
        if is_told:
            logger.warning("database connection failed: %s: %s", self._what, said(error))
        return self.refusal()

    def came(self) -> None:
        """Note that an attempt has succeeded."""
        with self._lock:
            is_told = self._breaker.come(self._clock())
            self._trying_seconds = float("-inf")
        if is_told:
            logger.warning("database is back: %s", self._what)

    def gave_up(self) -> None:
        """Note that an attempt has ended without telling anything: it was cancelled."""
        with self._lock:
            self._trying_seconds = float("-inf")


class NoRoomError(DatabaseAwayError):
    """The server has no room for one more connection; a pool that has others waits for these."""


def is_away(error: BaseException, dialect: str) -> bool:
    """Return whether *error*, raised while connecting, may pass by itself.

    By SQLSTATE where there is one; without it every operational error counts whose words are not
    known, since most drivers have no better one for a server that cannot be reached. A SQLite file
    is never away.
    """
    if dialect == "sqlite":
        return False
    state = getattr(error, "sqlstate", None)
    if state:
        return str(state).startswith(_AWAY_CLASSES)
    # asyncpg's for its arguments, which SQLAlchemy has an own error for, and Python's for
    # certificates.
    if isinstance(error, ValueError) or isinstance(error.__cause__, ValueError):
        return False
    if isinstance(error, OSError):  # TimeoutError is one; a file that is named is ours
        return error.filename is None
    if not any(kind.__name__ in _AWAY_KINDS for kind in type(error).__mro__):
        return False
    # Without names of hosts, users and files, which may be any words.
    return _MISTAKES.search(_QUOTED.sub("", _words(error))) is None


def is_locked(error: BaseException) -> bool:
    """Return whether *error* says that another has had a SQLite file locked for too long."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == _SQLITE_BUSY


def is_full(error: BaseException) -> bool:
    """Return whether *error*, raised while connecting, says that there is no room for one more."""
    return getattr(error, "sqlstate", None) == "53300" or _FULL.search(_words(error)) is not None


def _words(error: BaseException) -> str:
    return " ".join(map(str, error.args))


def away(name: str) -> DatabaseAwayError:
    """Return the refusal of a request for which *name* does not answer."""
    return DatabaseAwayError(
        _unavailable("database_away", f"{name} does not answer: try again in a moment")
    )


def full(name: str) -> DatabaseAwayError:
    """Return the refusal of a request for which *name* has no room, and no other connection."""
    return DatabaseAwayError(
        _unavailable(
            "database_full",
            f"the server of {name} takes no more connections (too many connections): try again in a"
            " moment",
        )
    )


def lost(name: str) -> DatabaseAwayError:
    """Return the refusal of a request whose connection to *name* was lost under it."""
    return DatabaseAwayError(
        _unavailable(
            "database_connection_lost",
            f"the connection to {name} was lost: what was sent last may have been done or not, and"
            " the transaction is undone; try again",
        )
    )


def locked(name: str) -> DatabaseAwayError:
    """Return the refusal of a request that has waited too long for the lock of a SQLite file."""
    return DatabaseAwayError(
        _unavailable("database_locked", f"{name} is locked by another: try again in a moment")
    )


def busy(
    name: str, limit: int, waiting: int, seconds: float | None, *, is_full: bool = False
) -> PoolBusyError:
    """Return the refusal of a request that got no connection.

    Args:
        name: of the pool.
        limit: how many connections it may have.
        waiting: who else waits.
        seconds: how long it has waited; None where it was turned away at once.
        is_full: whether the server is what allows no more.
    """
    why = "too many wait for one" if seconds is None else f"none came free in {seconds:g} s"
    advice = "raise connection_limit in its URL"
    if is_full:
        advice = "let its server allow more, which has no room for another (too many connections)"
    return PoolBusyError(
        _unavailable(
            "database_busy",
            f"all {limit} connections of {name} are in use, {waiting} wait, and {why}: hold"
            f" connections for less time, or {advice}",
        )
    )


def said(error: BaseException) -> str:
    """Return one line that says what *error* is."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]:.300}" if lines else type(error).__name__


def _unavailable(error: str, detail: str) -> Problem:
    return Problem(503, error, detail, headers=((b"retry-after", b"%d" % RETRY_AFTER_SECONDS),))
