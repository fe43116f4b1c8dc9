"""PyMongo's clients: one for each event loop, made in it, and closed with it.

Promises: connections are closed when their event loop is: ``asyncio.run()``, uvicorn and a worker
of ``tonnage run`` close what is left in a loop before they end it, and here that is done within
:data:`CLOSE_SECONDS`. A forked process leaves its parent's connections alone.

Bounded: a client for each event loop that is open. Does not decide how many connections one has.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import PyMongoError

from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from tonnage.db.mongodb.gate import GatedClient

#: How long a client has to say good-bye: MongoDB is told which sessions have ended.
CLOSE_SECONDS: Final = 2.0
#: How often a server is asked how many connections it has, at most.
ASK_EVERY_SECONDS: Final = 30.0
# All that is not asked for.
_NO_SECTIONS: Final[dict[str, Any]] = dict.fromkeys(
    ("metrics", "locks", "repl", "wiredTiger", "tcmalloc"), 0
)


class Here:
    """The client of the running event loop."""

    def __init__(self, client: GatedClient) -> None:
        self.client = client
        self._kept: object = None
        # A loop closes the asynchronous generators that were begun in it; there is no other way to
        # be told of its end. It is begun here, where nobody can wait: it gets to its yield at once.
        self._generator = self._wait()
        with suppress(StopIteration):
            self._generator.asend(None).send(None)

    def keep(self) -> None:
        """Keep what PyMongo replaces in a forked child: the servers, with their connections.

        They are the parent's, and would be warned about where they are collected.
        """
        self._kept = getattr(self.client, "_topology", None)

    async def close(self) -> None:
        """Close the client, in its event loop; a second time nothing happens."""
        await self._generator.aclose()

    async def _wait(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            try:
                await asyncio.wait_for(self.client.close(), CLOSE_SECONDS)
            except TimeoutError:
                # It has nothing to say any more: the sessions were its first word.
                await self.client.close()


class Clients:
    """The clients of one pool, one for each event loop.

    Args:
        on_fork: called in a forked child, which has none of its parent's clients.
    """

    def __init__(self, on_fork: Callable[[], None]) -> None:
        self._on_fork = on_fork
        self._here: dict[asyncio.AbstractEventLoop, Here] = {}
        # Kept, never closed: closing them would say good-bye in the name of the parent.
        self._parents: list[Here] = []
        _all.add(self)

    def of(self, loop: asyncio.AbstractEventLoop) -> GatedClient | None:
        """Return the client of *loop*, if it has one."""
        here = self._here.get(loop)
        return None if here is None else here.client

    def add(self, loop: asyncio.AbstractEventLoop, client: GatedClient) -> GatedClient:
        """Have *client* be that of *loop*, which runs."""
        self._here = {each: here for each, here in self._here.items() if not each.is_closed()}
        self._here[loop] = Here(client)
        return client

    async def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the client of *loop*, which runs."""
        here = self._here.pop(loop, None)
        if here is not None:
            await here.close()

    def close_idle(self) -> bool:
        """Have the idle connections of the running event loop closed, soon."""
        loop = asyncio._get_running_loop()
        client = None if loop is None else self.of(loop)
        if client is None:
            return False
        _soon(client.close_idle())
        return True

    def keep(self) -> None:
        """Keep what the clients have; called before the process is forked."""
        for here in self._here.values():
            here.keep()

    def begin_anew(self) -> None:
        """Leave all clients to the parent; called in a forked child."""
        self._parents += self._here.values()
        self._here = {}
        self._on_fork()


class Census:
    """How many connections a server has, of everybody; as it said last.

    It is asked when a connection has been given back, so that none is opened for it.

    Args:
        client: returns that of the running event loop, if it has one.
        clock: seconds that only go forward.
    """

    def __init__(
        self, client: Callable[[], GatedClient | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._clock = clock
        #: None: it has not said so.
        self.connections: int | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what was said; called in a forked child."""
        self._next_seconds = float("-inf")
        self.connections = None

    def look(self) -> None:
        """Have it asked, soon, unless it was a moment ago."""
        now = self._clock()
        if now >= self._next_seconds:
            self._next_seconds = now + ASK_EVERY_SECONDS
            _soon(self._ask())

    async def _ask(self) -> None:
        client = self._client()
        if client is None:
            return
        try:
            said = await client.admin.command("serverStatus", **_NO_SECTIONS)
            self.connections = int(said["connections"]["current"])
        except (PyMongoError, DatabaseError, KeyError):
            # It may not be allowed; or there is worse, and whoever works with it hears of that.
            self.connections = None


# Tasks that nobody waits for; the event loop itself would let go of them.
_tasks: set[asyncio.Task[None]] = set()
# Those that ran in the parent when this process was forked: a few for each generation.
_parents_tasks: list[asyncio.Task[None]] = []
_all: weakref.WeakSet[Clients] = weakref.WeakSet()


def _soon(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run *coroutine* as nobody's: not for the request that happens to be served."""
    task = asyncio.get_running_loop().create_task(coroutine, context=Context())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _before_fork() -> None:
    for clients in list(_all):
        clients.keep()


def _after_fork() -> None:
    # Kept as well: a connection that one of them has in hand is known to nobody else, and would be
    # warned about where it is collected.
    _parents_tasks.extend(_tasks)
    _tasks.clear()
    for clients in list(_all):
        clients.begin_anew()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
