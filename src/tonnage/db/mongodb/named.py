"""Databases and collections as PyMongo has them, whose results have bounds.

    events = db.mongo()["eventide"]["events"]        # at import, if you like
    await events.find({"city": "Porto"}).to_list()
    await events.page({"city": "Porto"}, sort="starts_at", after=cursor)

Promises: all that PyMongo's AsyncDatabase and AsyncCollection do. They may be made where no event
loop runs, before workers are forked; each operation goes to the client of the event loop it is in
(:mod:`tonnage.db.mongodb.client`). ``find()`` and ``aggregate()`` return cursors with bounds.

What a single command answers (``distinct()``, ``find_one()``, raw batches) is not counted: it is
one answer, which MongoDB bounds at 16 MB.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.asynchronous.database import AsyncDatabase

from tonnage.db.mongodb.bounds import shown_pipeline
from tonnage.db.mongodb.cursors import CommandCursor, Cursor, Document
from tonnage.db.mongodb.pages import page_of_documents
from tonnage.db.paging.web import MOST_ROWS, USUAL_SIZE, PageQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymongo import AsyncMongoClient

    from tonnage.db.mongodb.bounds import Bounds
    from tonnage.db.mongodb.client import Mongo
    from tonnage.db.mongodb.pages import Sort
    from tonnage.db.paging.page import Page


class Database(AsyncDatabase[Document]):
    """A database of a :class:`~tonnage.db.mongodb.client.Mongo`."""

    def __init__(self, mongo: Mongo, name: str, **options: Any) -> None:
        self._mongo = mongo
        super().__init__(mongo.client, name, **options)

    @property
    def bounds(self) -> Bounds:
        """What a query may load where it does not say so itself."""
        return self._mongo.bounds

    # PyMongo keeps a client here, which would be that of one event loop.
    @property
    def _client(self) -> AsyncMongoClient[Document]:
        return self._mongo.client

    @_client.setter
    def _client(self, client: AsyncMongoClient[Document]) -> None:
        pass

    def __getitem__(self, name: str) -> Collection:
        return Collection(self, name)

    def __getattr__(self, name: str) -> Collection:
        if name.startswith("_"):
            raise AttributeError(f"write database[{name!r}] for a collection of that name")
        return self[name]

    def get_collection(self, name: str, *given: Any, **options: Any) -> Collection:
        """Return a collection with options of its own, as PyMongo has them."""
        return Collection(self, name, False, *given, **options)

    async def create_collection(self, name: str, *given: Any, **options: Any) -> Collection:
        """Make a collection, as PyMongo has it."""
        await super().create_collection(name, *given, **options)
        return self[name]

    def with_options(  # type: ignore[override]
        self, *given: Any, **options: Any
    ) -> Database:
        """Return the same database with other options."""
        made = super().with_options(*given, **options)
        return Database(self._mongo, self.name, **_options_of(made))


class Collection(AsyncCollection[Document]):
    """A collection of a :class:`Database`."""

    database: Database

    @property
    def bounds(self) -> Bounds:
        """What a query may load where it does not say so itself."""
        return self.database.bounds

    def find(
        self,
        *given: Any,
        max_documents: int | None = None,
        max_bytes: int | None = None,
        **options: Any,
    ) -> Cursor:
        """Return a cursor on the documents that match a filter, as PyMongo's ``find()``.

        Args:
            given: a filter, a projection, and so on.
            max_documents: how many ``to_list()`` may load here.
            max_bytes: how large they may be together.
            options: PyMongo's, such as ``sort=``.
        """
        bounds = self._bounds(max_documents, max_bytes)
        return Cursor(self, *given, bounds=bounds, **options)

    async def aggregate(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        *given: Any,
        max_documents: int | None = None,
        max_bytes: int | None = None,
        **options: Any,
    ) -> CommandCursor:
        """Return a cursor on what *pipeline* makes, as PyMongo's ``aggregate()``.

        Args:
            pipeline: its stages.
            given: a session, and so on.
            max_documents: how many ``to_list()`` may load here.
            max_bytes: how large they may be together.
            options: PyMongo's, such as ``batchSize=``.
        """
        kind = f"{self.full_name} aggregate"
        sizes = self.bounds.sizes
        is_adaptive = "batchSize" not in options
        if is_adaptive:
            options["batchSize"] = sizes.first_batch(kind)
        cursor = await super().aggregate(pipeline, *given, **options)
        assert isinstance(cursor, CommandCursor)
        cursor.bound(
            self._bounds(max_documents, max_bytes),
            kind,
            shown_pipeline(self.full_name, pipeline),
            is_adaptive=is_adaptive,
        )
        return cursor

    async def page(
        self,
        wanted: Mapping[str, Any] | None = None,
        query: PageQuery | None = None,
        *,
        sort: Sort = "_id",
        projection: Mapping[str, Any] | Iterable[str] | None = None,
        size: int = USUAL_SIZE,
        after: str | None = None,
        before: str | None = None,
        max_size: int = MOST_ROWS,
        secret: str | bytes | None = None,
    ) -> Page[Document]:
        """Return a page of the documents that match *wanted*, by keyset.

        Args:
            wanted: a filter.
            query: what a client asks for, instead of *size*, *after* and *before*.
            sort: a field, or a list of fields with 1 or -1; ``_id`` is added, to make it whole.
            projection: the fields that are wanted, see :func:`tonnage.db.mongodb.pages.only`.
            size: documents of the page; *max_size* at most, whatever is asked for.
            after: the cursor of another page, for what comes after it.
            before: the cursor of another page, for what comes before it.
            max_size: the most documents of a page.
            secret: what signs cursors; None: a client can make up cursors.

        Raises:
            PageCursorError: the cursor is none of this list; answered with 400.
            RequestRefusedError: a page that cannot be; answered with 400.
        """
        asked = query or PageQuery(size, after, before)
        return await page_of_documents(
            self, wanted or {}, asked, sort, projection, max_size=max_size, secret=secret
        )

    def __getitem__(self, name: str) -> Collection:
        return self.database.get_collection(f"{self.name}.{name}", **_options_of(self))

    def __getattr__(self, name: str) -> Collection:
        if name.startswith("_"):
            raise AttributeError(f"write collection[{name!r}] for a collection of that name")
        return self[name]

    def with_options(  # type: ignore[override]
        self, *given: Any, **options: Any
    ) -> Collection:
        """Return the same collection with other options."""
        made = super().with_options(*given, **options)
        return self.database.get_collection(self.name, **_options_of(made))

    async def _aggregate(  # type: ignore[override]
        self, command: Any, pipeline: Any, cursor_class: Any, *given: Any, **named: Any
    ) -> Any:
        # Not public: the one place where PyMongo says of which class the cursor is to be.
        if cursor_class is AsyncCommandCursor:
            cursor_class = CommandCursor
        return await super()._aggregate(command, pipeline, cursor_class, *given, **named)

    def _bounds(self, max_documents: int | None, max_bytes: int | None) -> Bounds:
        usual = self.bounds
        if max_documents is None and max_bytes is None:
            return usual
        for name, value in (("max_documents", max_documents), ("max_bytes", max_bytes)):
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} is a whole number, 1 at least, not {value!r:.40}")
        return replace(
            usual,
            max_documents=usual.max_documents if max_documents is None else max_documents,
            max_bytes=usual.max_bytes if max_bytes is None else max_bytes,
        )


def _options_of(made: AsyncDatabase[Any] | AsyncCollection[Any]) -> dict[str, Any]:
    return {
        "codec_options": made.codec_options,
        "read_preference": made.read_preference,
        "write_concern": made.write_concern,
        "read_concern": made.read_concern,
    }
