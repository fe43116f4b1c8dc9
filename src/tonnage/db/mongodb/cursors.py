"""PyMongo's cursors with bounds: what is gathered is counted, what is streamed comes in parts.

Promises: ``to_list()`` that would load more than a query may is stopped with
:class:`~tonnage.errors.ResultTooLargeError`, and its cursor closed; what it takes beyond its first
batch is reserved with the governor. ``async for`` is a stream: it holds one batch at a time, of
about 1 MB, however many documents there are. A batch size that the application sets is kept.

A list comprehension over ``async for`` gathers, too, and is the application's own doing: nobody can
tell it from a stream.

Two methods are overridden that are not public: what unpacks an answer knows its length, and what is
asked for next is set there. Tests show that batches follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.asynchronous.cursor import AsyncCursor

from tonnage.db.guard.chunks import fitting
from tonnage.db.guard.weights import weigh
from tonnage.db.mongodb.batches import MOST_DOCUMENTS
from tonnage.db.mongodb.bounds import Bounds, shown_find
from tonnage.governor.reservations import reserved

if TYPE_CHECKING:
    from collections.abc import Sequence

Document = dict[str, Any]


class _Bounded:
    """What both kinds of cursors have in common."""

    _bounds: Bounds
    #: What sizes of documents are remembered by.
    _kind: str
    #: Whether the number of documents to a batch is ours to choose.
    _is_adaptive = True
    # PyMongo's.
    _batch_size: int
    alive: bool

    def _shown(self) -> str:
        raise NotImplementedError

    def batch_size(self, batch_size: int) -> Self:
        """Ask for so many documents at once, whatever their size."""
        self._is_adaptive = not batch_size
        super().batch_size(batch_size)  # type: ignore[misc]
        return self

    async def to_list(self, length: int | None = None) -> list[Document]:
        """Return the documents that are left, or *length* of them.

        Raises:
            ResultTooLargeError: they are more than one query may load.
        """
        if self._bounds.is_off:
            whole: list[Document] = await super().to_list(length)  # type: ignore[misc]
            return whole
        if length is not None and length < 1:
            raise ValueError("to_list() length must be greater than 0")
        tally = self._bounds.tally(self._shown())
        found: list[Document] = []
        try:
            while self.alive and (length is None or len(found) < length):
                count = (
                    tally.next_rows if length is None else min(tally.next_rows, length - len(found))
                )
                async with reserved(tally.next_bytes):
                    some: list[Document] = await super().to_list(count)  # type: ignore[misc]
                    tally.count(some)
                    found += some
        except BaseException:
            await self.close()  # type: ignore[attr-defined]
            raise
        return found

    def _unpack_response(self, response: Any, *given: Any, **named: Any) -> Sequence[Any]:
        replies: Sequence[Any] = super()._unpack_response(  # type: ignore[misc]
            response, *given, **named
        )
        cursor = replies[0].get("cursor") if replies else None
        if cursor is not None:
            documents = cursor.get("firstBatch", cursor.get("nextBatch", ()))
            if documents:
                self._learn(len(response.payload_document) / len(documents))
        return replies

    def _learn(self, document_bytes: float) -> None:
        known = self._bounds.sizes.learn(self._kind, document_bytes)
        if self._is_adaptive:
            self._batch_size = fitting(1, known, MOST_DOCUMENTS)


class Cursor(_Bounded, AsyncCursor[Document]):
    """What ``find()`` returns."""

    def __init__(
        self, collection: Any, *given: Any, bounds: Bounds | None = None, **named: Any
    ) -> None:
        # PyMongo makes a clone without any of ours: then they are the collection's.
        self._bounds = bounds or collection.bounds
        self._kind = collection.full_name
        self._is_adaptive = not named.get("batch_size")
        super().__init__(collection, *given, **named)
        if self._is_adaptive:
            self._batch_size = self._bounds.sizes.first_batch(self._kind)

    def clone(self) -> Self:
        """Return a cursor that asks the same, from the beginning."""
        made = super().clone()
        made._bounds, made._is_adaptive = self._bounds, self._is_adaptive
        return made

    def _shown(self) -> str:
        return shown_find(self._kind, self._spec)


class CommandCursor(_Bounded, AsyncCommandCursor[Document]):
    """What ``aggregate()`` returns."""

    _statement = ""

    def bound(self, bounds: Bounds, kind: str, statement: str, *, is_adaptive: bool) -> None:
        """Say what it may load; its first batch has come by then."""
        self._bounds, self._kind, self._statement = bounds, kind, statement
        self._is_adaptive = is_adaptive
        if self._data:
            # How long the answer was is not known here.
            self._learn(weigh(list(self._data)) / len(self._data))

    def _shown(self) -> str:
        return self._statement
