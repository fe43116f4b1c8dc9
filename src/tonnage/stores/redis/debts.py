"""What Redis has yet to hear is to be forgotten: said in the end, however long it is away.

    debts = Debts(link, command, complain, announce)
    debts.owe([(TAG, "event:7")])        # sent now, or as soon as it can be
    debts.elsewhere(link.way)            # what something asked this way might still find

Promises: what is owed is sent at once where Redis is there, again where it was not answered, and
before anybody of this process asks anything when Redis comes back. Saying it twice does no harm.
What was paid late is said once more on this machine: another worker may have come back to Redis
sooner, and have found there what was to be forgotten.

Bounded: :data:`MOST_OWED`; where there would be more, everything is to be forgotten, which is one.
A process that ends takes with it what it owes.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import RedisAwayError
from tonnage.stores.bulletin import CLEAR, GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from tonnage.stores.redis.link import Link, Post
    from tonnage.stores.redis.wire import Argument

    #: A kind of notice, and the key's name or the tag (:mod:`tonnage.stores.bulletin`).
    Forgotten = tuple[int, str]

MOST_OWED: Final = 1000
#: When to try again where Redis is there, and too many commands waited, or it refused.
RETRY_SECONDS: Final = 0.1
#: What was paid later than so was late. Sooner, caches do not go by what they find in Redis
#: (:data:`tonnage.stores.bulletin.GRACE_SECONDS`).
LATE_SECONDS: Final = GRACE_SECONDS / 2
EVERYTHING: Final = (CLEAR, "")


class _Debt:
    __slots__ = ("since_seconds", "way")

    def __init__(self) -> None:
        self.since_seconds = time.monotonic()
        #: The way it was sent, if it is under way: what is asked that way comes after it.
        self.way: object = None


class Debts:
    """What one cache owes.

    Args:
        link: to Redis.
        command: what has Redis forget something.
        complain: is told what Redis refuses to forget.
        announce: is told, in the stores' thread, what Redis was late to hear.
    """

    def __init__(
        self,
        link: Link,
        command: Callable[[int, str], tuple[Argument, ...]],
        complain: Callable[[Exception], None],
        announce: Callable[[int, str], None],
    ) -> None:
        self._link = link
        self._command = command
        self._complain = complain
        self._announce = announce
        # Held for microseconds, also inside the link's lock; never the other way round. An RLock: a
        # finalizer, which the collector runs where it likes, may come to owe something.
        self._changing = threading.RLock()
        self._owed: dict[Forgotten, _Debt] = {}
        self._is_retrying = False
        link.before_others(self._pay_first)

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, forgotten: list[Forgotten]) -> None:
        """Have Redis forget all of these."""
        with self._changing:
            everything = self._owed.get(EVERYTHING)
            if everything is None or everything.way is not None:
                for each in forgotten:
                    self._owed[each] = _Debt()
                if len(self._owed) > MOST_OWED or EVERYTHING in forgotten:
                    self._owed = {EVERYTHING: _Debt()}
            is_retrying = self._is_retrying
        if not is_retrying and not self._link.is_away:
            self._pay(self._link.post, self._link.way)

    def elsewhere(self, way: object) -> frozenset[Forgotten]:
        """Return what Redis may hear later than what is asked this *way*."""
        if not self._owed:
            return frozenset()
        with self._changing:
            owed = self._owed.copy()
        return frozenset(what for what, debt in owed.items() if debt.way is not way)

    def _pay(self, post: Post, way: object) -> None:
        """Send what is not under way, as far as it is taken."""
        with self._changing:
            owed = self._owed.copy()
        unsent = [(what, debt) for what, debt in owed.items() if debt.way is None]
        for what, debt in unsent:
            with self._changing:
                if debt.way is not None:
                    continue
                debt.way = way
            try:
                answer = post(*self._command(*what))
            except BaseException:
                self._try_again(debt)
                raise
            is_refused = answer.done()
            answer.add_done_callback(partial(self._paid, what, debt))
            if is_refused:
                return

    def _pay_first(self, post: Post) -> None:
        self._pay(post, self._link.way_of_threads)

    def _paid(self, what: Forgotten, debt: _Debt, answer: Future[Any]) -> None:
        error = answer.exception()
        if error is None:
            with self._changing:
                # Somebody may have come to owe the same anew.
                if self._owed.get(what) is debt:
                    del self._owed[what]
            if time.monotonic() - debt.since_seconds > LATE_SECONDS:
                # Elsewhere, for the link may be locked here.
                self._link.later(0, partial(self._announce, *what))
            return
        self._try_again(debt)
        if isinstance(error, Exception) and not isinstance(error, RedisAwayError):
            self._complain(error)

    def _try_again(self, debt: _Debt) -> None:
        with self._changing:
            debt.way = None
            is_first, self._is_retrying = not self._is_retrying, True
        if is_first:
            try:
                self._link.later(RETRY_SECONDS, self._retry)
            except MemoryError:
                self._is_retrying = False  # who owes something next pays this as well
                raise

    def _retry(self) -> None:
        with self._changing:
            self._is_retrying = False
        # Where Redis is away, it hears first of all when it comes back.
        if not self._link.is_away:
            self._pay(self._link.post, self._link.way)
