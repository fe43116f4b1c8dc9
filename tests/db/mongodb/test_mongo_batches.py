"""How many documents are asked for at once."""

from __future__ import annotations

from tonnage.db.guard.chunks import CHUNK_BYTES, fitting
from tonnage.db.mongodb.batches import (
    FIRST_DOCUMENTS,
    MOST_COLLECTIONS,
    MOST_DOCUMENTS,
    UNKNOWN_DOCUMENTS,
    Sizes,
)


def test_a_batch_is_about_a_megabyte() -> None:
    """Whatever the documents' size; one at least, and not without an end."""
    assert fitting(10, CHUNK_BYTES, MOST_DOCUMENTS) == 10
    assert fitting(1, 16 * CHUNK_BYTES, MOST_DOCUMENTS) == 1
    assert fitting(1, 0, MOST_DOCUMENTS) == MOST_DOCUMENTS


def test_the_first_batch_follows_from_those_before() -> None:
    """Of the same collection; of one that nobody has read, it is small."""
    sizes = Sizes()
    assert sizes.first_batch("a") == UNKNOWN_DOCUMENTS
    sizes.learn("a", 200)
    assert sizes.first_batch("a") == FIRST_DOCUMENTS
    assert sizes.first_batch("b") == UNKNOWN_DOCUMENTS
    sizes.learn("a", CHUNK_BYTES / 4)
    assert sizes.first_batch("a") == 4


def test_large_documents_count_at_once_and_small_ones_by_and_by() -> None:
    """So that one small batch among large ones does not have the next come in full."""
    sizes = Sizes()
    sizes.learn("a", 1000.0)
    assert sizes.learn("a", 0.0) == 750.0
    assert sizes.learn("a", 5000.0) == 5000.0


def test_few_collections_are_remembered() -> None:
    """Those that were read last."""
    sizes = Sizes()
    for number in range(MOST_COLLECTIONS + 1):
        sizes.learn(f"c{number}", CHUNK_BYTES)
        sizes.learn("often", CHUNK_BYTES)
    assert sizes.first_batch("c0") == UNKNOWN_DOCUMENTS
    assert sizes.first_batch("often") == 1
    assert sizes.first_batch(f"c{MOST_COLLECTIONS}") == 1
