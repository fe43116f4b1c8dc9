"""What caches tell each other from worker to worker: that something is to be forgotten.

    bulletin.join(cache)                              # has a name, and hear(kind, what)
    bulletin.announce("events", TAG, "event:7")       # every worker's cache "events" hears it
    bulletin.clear("events")                          # from any process, the supervisor too

Notices stand in a ring that all processes of a server share. Whoever looks something up compares
one word first, and obeys what is new: once a notice is posted, no lookup anywhere goes by what was
there before. A worker without lookups obeys at its next beat, a tenth of a second later.

Bounded: :data:`RECORDS` notices of :data:`RECORD_BYTES`, 1 MB for all workers and caches together,
of which only written pages count. A worker that was away for longer clears its caches, as it does
where a key or a tag is too long for a record or the key has no name. Nothing is lost, and nothing
is waited for but a lock that is held for microseconds.

Reaches the processes of one server; other instances are :mod:`tonnage.stores.redis.news`'.
Processes that a server starts anew instead of forking them, such as ``uvicorn --workers``, share
nothing, and each hears itself alone.
"""

from __future__ import annotations

import os
import struct
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final, Protocol

from tonnage.host.commons import share
from tonnage.stores import roster
from tonnage.stores.names import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: What is to be forgotten: the entry of a key (by its name), what has a tag, everything.
KEY: Final = 1
TAG: Final = 2
CLEAR: Final = 3

RECORDS: Final = 4096
RECORD_BYTES: Final = 256
#: A lookup waits for another thread that obeys notices, but not longer.
OBEY_SECONDS: Final = 1.0
#: What was forgotten on this machine may be found in Redis for so long: it hears of it later.
GRACE_SECONDS: Final = 1.0

# The kind, the length of what, and whose: the digest of a cache's name, zeros for all caches.
_HEAD: Final = struct.Struct("<HH16s")
_MOST_BYTES: Final = RECORD_BYTES - _HEAD.size
_ALL: Final = bytes(16)
# Words: how many notices there are so far; how often all caches were cleared, and then how often
# those that share a word by their digests; when Redis was told of something; the ring.
_COUNT: Final = 0
_CLEARS: Final = 1
_CLEARS_OF: Final = 2
_CLEAR_WORDS: Final = 4094
_TIMES: Final = _CLEARS_OF + _CLEAR_WORDS
_TIME_WORDS: Final = 4096
_FIRST: Final = 8 * (_TIMES + _TIME_WORDS)


class Listener(Protocol):
    """A cache, as far as it hears notices."""

    @property
    def name(self) -> str:
        """What the cache is called; all caches of one name hear the same."""

    def hear(self, kind: int, what: str, /) -> None:
        """Drop the key or the tag *what*, or all, as *kind* says, from this process's memory."""

    def forget(self, kind: int, what: str, /) -> None:
        """As :meth:`hear`, and from what this machine shares; tell its other workers to."""


class Bulletin:
    """The ring as one process sees it, with the caches of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Open it; *clock* is monotonic seconds, the same for all processes."""
        self._clock = clock
        self._region = share("cache bulletin", _FIRST + RECORDS * RECORD_BYTES)
        #: Of these, the first says how many notices there are so far.
        self.words: Final = self._region.words
        #: How many of them this process has obeyed.
        self.seen = self.words[_COUNT]
        # By the digest of their names; as many as the application has caches.
        self._listeners: dict[bytes, list[weakref.ref[Listener]]] = {}
        # Held while notices are obeyed; comes before the locks of caches.
        self._obeying = threading.RLock()

    def join(self, listener: Listener) -> None:
        """Have *listener* hear what concerns its name; it is held weakly."""
        roster.enter(listener.name)
        with self._obeying:
            named = self._listeners.setdefault(digest_of(listener.name), [])
            named[:] = [each for each in named if each() is not None]
            named.append(weakref.ref(listener))

    def members(self, name: str | None) -> list[Listener]:
        """Return the caches of this process called *name*, or all."""
        return list(self._concerned(_ALL if name is None else digest_of(name)))

    def post(
        self, name: str | None, kind: int, what: str = "", *, sender: Listener | None = None
    ) -> None:
        """Tell every process of this server, also this one; it is obeyed from now on.

        Args:
            name: whose caches are meant; None: all.
            kind: :data:`KEY`, :data:`TAG` or :data:`CLEAR`.
            what: the name of the key, or the tag.
            sender: who has obeyed already.
        """
        data = what.encode(errors="surrogatepass")
        if len(data) > _MOST_BYTES:
            kind, data = CLEAR, b""
        record = _HEAD.pack(kind, len(data), _ALL if name is None else digest_of(name)) + data
        with self._region.locked():
            number = self.words[_COUNT]
            begin = _place(number)
            self._region.bytes[begin : begin + len(record)] = record
            # Last: with that it counts. Whoever dies before has written nothing.
            self.words[_COUNT] = number + 1
        self.catch_up(number, sender)

    def catch_up(self, own: int = -1, sender: Listener | None = None) -> None:
        """Obey what is new.

        Args:
            own: the number of a notice that is this process's own.
            sender: who has obeyed that already.
        """
        # Whoever looks something up while another thread is at it waits, and then goes by it. Not
        # for ever: the finalizer of a value that is being taken out may look something up.
        if not self._obeying.acquire(timeout=OBEY_SECONDS):
            return
        try:
            while (count := self.words[_COUNT]) != self.seen:
                notices = self._read(self.seen, count)
                if notices is None:
                    notices = [(CLEAR, _ALL, "")]
                for number, (kind, whose, what) in enumerate(notices, self.seen):
                    for listener in self._concerned(whose):
                        if number != own or listener is not sender:
                            listener.hear(kind, what)
                self.seen = count
        finally:
            self._obeying.release()

    def announce(self, name: str, kind: int, what: str = "") -> None:
        """Have caches called *name* forget on the whole machine, what they share included.

        Args:
            name: theirs.
            kind: :data:`KEY`, :data:`TAG` or :data:`CLEAR`.
            what: the name of the key, or the tag.
        """
        for listener in self._concerned(digest_of(name)):
            # It posts, so the others of its name hear it too.
            listener.forget(kind, what)
            return
        self.post(name, kind, what)

    def clear(self, name: str | None = None, *, sender: Listener | None = None) -> None:
        """Empty the caches called *name*, or all, in all workers, and what they share there."""
        self.count_clear(None if name is None else digest_of(name))
        self.post(name, CLEAR, sender=sender)

    def note_forgotten(self, name: str, kind: int, what: str = "") -> None:
        """Note that Redis is being told to forget something; before anybody else is."""
        self.words[_time_word(name, kind, what)] = self._now_ms()

    def is_just_forgotten(self, name: str, key: str, tags: Iterable[str]) -> bool:
        """Whether Redis may not have heard yet that a key is to be forgotten, by itself or a tag.

        Now and then it was another that was.
        """
        since = self._now_ms() - int(GRACE_SECONDS * 1000)
        asked = [(CLEAR, ""), (KEY, key), *((TAG, tag) for tag in tags)]
        return any(self.words[_time_word(name, *each)] > since for each in asked)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def count_clear(self, whose: bytes | None) -> None:
        """Have what those of a digest share count as cleared, or what all share, for None."""
        with self._region.locked():
            self.words[_CLEARS if whose is None else _word(whose)] += 1

    def clears(self, whose: bytes) -> int:
        """Return how often what those of a digest share has been cleared, and rarely more."""
        return self.words[_CLEARS] + self.words[_word(whose)]

    def _read(self, begin: int, end: int) -> list[tuple[int, bytes, str]] | None:
        """Return the notices from *begin* to *end*; None: they are gone already."""
        if end - begin >= RECORDS:
            return None
        records = [
            bytes(self._region.bytes[_place(number) : _place(number) + RECORD_BYTES])
            for number in range(begin, end)
        ]
        # The one that is just being written may be the oldest.
        if self.words[_COUNT] - begin >= RECORDS:
            return None
        found = []
        for record in records:
            kind, length, whose = _HEAD.unpack_from(record)
            what = record[_HEAD.size : _HEAD.size + length]
            found.append((kind, whose, what.decode(errors="surrogatepass")))
        return found

    def _concerned(self, whose: bytes) -> Iterator[Listener]:
        named = self._listeners.values() if whose == _ALL else [self._listeners.get(whose, [])]
        for reference in [each for listeners in named for each in listeners]:
            listener = reference()
            if listener is not None:
                yield listener

    def after_fork(self) -> None:
        """Begin as a child: whoever held the lock is not here."""
        self._obeying = threading.RLock()


def _place(number: int) -> int:
    return _FIRST + number % RECORDS * RECORD_BYTES


def _time_word(name: str, kind: int, what: str) -> int:
    text = f"{kind} {what}/{name}"
    return _TIMES + int.from_bytes(digest_of(text)[:4], "little") % _TIME_WORDS


def _word(whose: bytes) -> int:
    return _CLEARS_OF + int.from_bytes(whose[:4], "little") % _CLEAR_WORDS


_bulletin: Bulletin | None = None


def bulletin() -> Bulletin:
    """Return that of this server; opened when first asked for."""
    global _bulletin  # one for a process and all that it forks
    if _bulletin is None:
        _bulletin = Bulletin()
    return _bulletin


def announce(name: str, kind: int, what: str = "") -> None:
    """Have caches called *name* forget on the whole machine, what they share included.

    Args:
        name: theirs.
        kind: :data:`KEY`, :data:`TAG` or :data:`CLEAR`.
        what: the name of the key, or the tag.
    """
    bulletin().announce(name, kind, what)


def clear(name: str | None = None) -> None:
    """Empty the caches called *name*, or all, in all workers of this server, with what they share.

    Any process of the server may call it; whether a worker has such a cache is not known here.
    """
    bulletin().clear(name)


def catch_up_all() -> None:
    """Obey what is new, where nothing is looked up; to be called some times a second."""
    if _bulletin is not None and _bulletin.words[_COUNT] != _bulletin.seen:
        _bulletin.catch_up()


def _after_fork() -> None:
    if _bulletin is not None:
        _bulletin.after_fork()


os.register_at_fork(after_in_child=_after_fork)
