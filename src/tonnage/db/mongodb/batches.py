"""How many documents a cursor asks for at once, so that a batch is about 1 MB. Pure.

MongoDB counts batches in documents, and bounds them at 16 MB each; where nobody says how many, it
fills them. So the number follows from how large the documents were that have come: of this cursor,
and, for its first batch, of the cursors before it on the same collection.

Bounded: sizes of :data:`MOST_COLLECTIONS` collections are remembered. A first batch of large
documents in a collection that nobody has read yet is one of :data:`UNKNOWN_DOCUMENTS`.
"""

from __future__ import annotations

from typing import Final

from tonnage.db.guard.chunks import fitting

#: Asked for at first where nothing is known; ten of 100 KB each are a batch as it should be.
UNKNOWN_DOCUMENTS: Final = 10
#: As many as MongoDB itself sends first.
FIRST_DOCUMENTS: Final = 101
#: However small they are: a document takes some hundred bytes in Python at least.
MOST_DOCUMENTS: Final = 2_000
#: Names of collections whose documents' size is remembered, in each worker.
MOST_COLLECTIONS: Final = 256
# Of what was known, so much remains when a batch of smaller documents comes.
_KEPT: Final = 0.75


class Sizes:
    """How large the documents of each collection were lately, in bytes on the wire."""

    def __init__(self) -> None:
        self._document_bytes: dict[str, float] = {}

    def first_batch(self, collection: str) -> int:
        """Return how many documents of *collection* to ask for at first."""
        known = self._document_bytes.get(collection)
        if known is None:
            return UNKNOWN_DOCUMENTS
        return fitting(1, known, FIRST_DOCUMENTS)

    def learn(self, collection: str, document_bytes: float) -> float:
        """Note what documents of *collection* took on average; return what is known now.

        Larger ones count at once, smaller ones by and by.
        """
        before = self._document_bytes.pop(collection, 0.0)
        known = max(document_bytes, before * _KEPT + document_bytes * (1 - _KEPT))
        # Put at the end: the first is the one that was not seen for longest.
        self._document_bytes[collection] = known
        if len(self._document_bytes) > MOST_COLLECTIONS:
            del self._document_bytes[next(iter(self._document_bytes))]
        return known
