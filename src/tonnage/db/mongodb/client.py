"""MongoDB with bounds: one pool for each worker, and queries that load no more than they may.

    mongo = db.mongo()                          # at import; MONGO_URL, with MONGO_POOL_SIZE
    events = mongo.database["events"]           # the database that the URL names
    await events.insert_one({"title": "Regatta"})

Promises: nothing is opened before the first operation, which may be in a worker that was forked
after the import. Each :class:`Mongo` has one pool for each event loop, of as many connections as
the URL, ``MONGO_POOL_SIZE`` or the worker's share allow: make one for a server, at import. Those
that nobody uses are closed after a while, and when memory runs short; all of them when the event
loop ends. Who waits for a connection, or for a server that is gone, does so for a bounded time, and
is answered with 503 (:mod:`tonnage.db.mongodb.gate`).

PyMongo itself keeps one or two connections more to each server, to know how that is; and it knows
no lifetime of connections. Results of :attr:`Mongo.client`, PyMongo's own, are not bounded.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any, Literal

from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.db.drivers.pymongo import arguments
from tonnage.db.pooling.away import Door
from tonnage.db.pooling.counting import PoolStatistics, enter
from tonnage.db.pooling.share import join
from tonnage.db.pooling.upkeep import ConnectionLog
from tonnage.db.settings import current
from tonnage.db.urls import wanted_url
from tonnage.errors import ConfigError
from tonnage.governor.consumers import register
from tonnage.stores.sinks.onlyone import needed

if TYPE_CHECKING:
    from tonnage.db.mongodb.bounds import Bounds
    from tonnage.db.mongodb.gate import GatedClient
    from tonnage.db.mongodb.named import Database
    from tonnage.db.urls import DatabaseUrl, UrlLike


class Mongo:
    """A pool of connections to MongoDB, and its databases. Made by :func:`mongo`."""

    def __init__(
        self, url: DatabaseUrl, name: str, bounds: Bounds, slow_seconds: float, options: Any
    ) -> None:
        from tonnage.db.guard.slow import SlowQueries
        from tonnage.db.mongodb.connection import Census, Clients
        from tonnage.db.mongodb.events import Books, SlowCommands, Watcher
        from tonnage.db.mongodb.gate import Gate

        #: What logs and statistics call it.
        self.name = name
        #: Where it is, without a password.
        self.shown = url.shown
        #: What a query may load where it does not say so itself.
        self.bounds = bounds
        self._url = url
        self._member = join(name, url.pool.connection_limit)
        self._clients = Clients(self._begin_anew)
        self._census = Census(lambda: self._clients.of(asyncio.get_running_loop()))
        books = self._books = Books(ConnectionLog(name, url.shown), self._census.look)
        self._gate = Gate(
            name,
            Door(name, url.shown),
            self._member.limit,
            books,
            url.pool.pool_timeout_seconds,
        )
        watcher = Watcher(self._gate.answered)
        listeners = [books, watcher, SlowCommands(SlowQueries(slow_seconds))]
        # With those of the application: connections are counted by ours.
        more = options.pop("event_listeners", None) or ()
        self._options = {**options, "event_listeners": [*listeners, *more]}
        # Never opened: it is asked for options where no event loop runs.
        self._idle = self._make(1)
        enter(self, url.shown)
        register(self)

    @property
    def client(self) -> GatedClient:
        """PyMongo's client of the running event loop; where none runs, one to ask for options."""
        try:
            return self._running_client()
        except RuntimeError:
            return self._idle

    @property
    def database(self) -> Database:
        """The database that the URL names.

        Raises:
            ConfigError: it names none.
        """
        named = self._idle.get_default_database(default="-").name
        if named == "-":
            raise ConfigError(
                f"{self._url.shown} names no database: write it behind the host, as in"
                " mongodb://host/name, or take mongo[name]"
            )
        return self[named]

    def __getitem__(self, name: str) -> Database:
        from tonnage.db.mongodb.named import Database

        return Database(self, name)

    async def close(self) -> None:
        """Close the connections of the running event loop; the next operation opens new ones."""
        await self._clients.close(asyncio.get_running_loop())

    def statistics(self) -> PoolStatistics:
        """Return the pool's state and counts, over all event loops of this process."""
        books = self._books
        open_now, in_use = books.open, books.taken
        return PoolStatistics(
            name=self.name,
            kind="pymongo",
            limit=self._member.planned(),
            open=open_now,
            in_use=in_use,
            idle=max(0, open_now - in_use),
            waiting=self._gate.waiting,
            opened_total=books.opened,
            closed_total=books.closed,
            timed_out_total=books.timed_out,
            # Without a connection nobody knows: the server may be gone.
            server_connections=self._census.connections if open_now else None,
        )

    # As a consumer of memory.

    @property
    def max_bytes(self) -> int:
        """What its connections may hold, in bytes."""
        return self._member.planned() * CONNECTION_BYTES

    @property
    def used_bytes(self) -> int:
        """What its open connections are taken to hold, in bytes."""
        return self._books.open * CONNECTION_BYTES

    def shrink(self, target_bytes: int) -> int:
        """Have connections closed that nobody uses, where they are more than *target_bytes*."""
        idle = self._books.open - self._books.taken
        if idle <= 0 or self.used_bytes <= target_bytes:
            return 0
        return idle * CONNECTION_BYTES if self._clients.close_idle() else 0

    def __repr__(self) -> str:
        return f"Mongo({self._url.shown!r})"

    # Inside.

    def _begin_anew(self) -> None:
        self._books.begin_anew()
        self._census.begin_anew()
        self._gate.begin_anew()

    def _running_client(self) -> GatedClient:
        loop = asyncio.get_running_loop()
        return self._clients.of(loop) or self._clients.add(loop, self._make(self._member.limit()))

    def _make(self, limit: int) -> GatedClient:
        from pymongo.errors import ConfigurationError, InvalidURI

        from tonnage.db.mongodb.gate import GatedClient

        given = {**arguments(self._url, current(), limit), **self._options}
        try:
            with warnings.catch_warnings():
                # What PyMongo does not understand it leaves out with a warning: also of tls=maybe.
                warnings.simplefilter("error", UserWarning)
                return GatedClient(self._gate, **given)
        except (ConfigurationError, InvalidURI, ValueError, TypeError, UserWarning) as error:
            # Without what PyMongo says of a URL: there may be a password in it.
            why = "" if isinstance(error, InvalidURI) else f": {error}"
            raise ConfigError(f"PyMongo does not take {self._url.shown}{why}") from None


def mongo(
    url: UrlLike | None = None,
    *,
    name: str = "mongo",
    max_documents: int | None = None,
    max_bytes: int | None = None,
    guard: Literal["stop", "warn", "off"] | None = None,
    slow_seconds: float | None = None,
    **options: Any,
) -> Mongo:
    """Return a pool of connections to MongoDB; nothing is opened before it is used.

    Args:
        url: as ``mongodb://user:password@host/database?connection_limit=5``; None: MONGO_URL.
        name: what logs and statistics call it.
        max_documents: how many one query may load at once; None: ``max_query_rows``.
        max_bytes: how large they may be together; None: ``max_query_bytes``.
        guard: what happens to a query that would load more; None: ``query_guard``.
        slow_seconds: a command that takes longer is logged; None: ``slow_query``.
        options: of PyMongo's AsyncMongoClient, which have the last word.

    Raises:
        ConfigError: PyMongo is not installed, or the URL or an option makes no sense.
    """
    needed("pymongo", "mongo")
    from tonnage.db.guard.bounds import limits
    from tonnage.db.mongodb.bounds import Bounds

    settings = current()
    documents, size_bytes, mode, slow = limits(
        settings, max_documents, max_bytes, guard, slow_seconds, rows="max_documents"
    )
    return Mongo(
        wanted_url(url, for_mongo=True), name, Bounds(documents, size_bytes, mode), slow, options
    )
