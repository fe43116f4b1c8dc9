"""The two tables of a shared level, within one transaction: a queue of records, and its index.

Each digest that the index has leads to one record in the queue, and each record is in the index.
Decides nothing about who leaves (:mod:`.contents`); how records look is :mod:`.records`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.stores.shared.records import (
    PIECE_BYTES,
    pack_index,
    pack_piece,
    unpack,
    unpack_index,
    unpack_piece,
)

if TYPE_CHECKING:
    from tonnage.stores.shared.records import Record
    from tonnage.stores.shared.store import Tables


def moment_of(tables: Tables, digest: bytes) -> int:
    """Return when a key's value was made, or a key or tag was forgotten; 0: never, as far known."""
    found = tables.transaction.get(digest, None, tables.index)
    return 0 if found is None else unpack_index(found)[1]


def set_moment(tables: Tables, digest: bytes, moment: int) -> None:
    """Have *digest* lead to a moment alone."""
    tables.transaction.put(digest, pack_index(0, moment), db=tables.index)


def find(tables: Tables, digest: bytes) -> Record | None:
    """Return the record that *digest* leads to."""
    found = tables.transaction.get(digest, None, tables.index)
    if found is None:
        return None
    place = unpack_index(found)[0]
    first = tables.transaction.get(pack_piece(place, 0), None, tables.queue)
    if first is None:
        return None
    if len(first) < PIECE_BYTES:
        return unpack(first)
    return unpack(b"".join(_pieces(tables, place)))


def first(tables: Tables) -> Record | None:
    """Return the oldest record; None: there is none."""
    cursor = tables.transaction.cursor(tables.queue)
    if not cursor.first():
        return None
    place = unpack_piece(cursor.key())[0]
    return unpack(b"".join(_pieces(tables, place)))


def append(tables: Tables, digest: bytes, moment: int, packed: bytes) -> None:
    """Put a record at the end, in the place of the one that *digest* leads to so far."""
    remove(tables, digest)
    transaction = tables.transaction
    cursor = transaction.cursor(tables.queue)
    place = unpack_piece(cursor.key())[0] + 1 if cursor.last() else 1
    for number, begin in enumerate(range(0, len(packed), PIECE_BYTES)):
        piece = packed[begin : begin + PIECE_BYTES]
        transaction.put(pack_piece(place, number), piece, db=tables.queue, append=True)
    transaction.put(digest, pack_index(place, moment), db=tables.index)


def remove(tables: Tables, digest: bytes) -> int:
    """Take out the record that *digest* leads to, if there is one; return how many pieces."""
    found = tables.transaction.get(digest, None, tables.index)
    if found is None:
        return 0
    tables.transaction.delete(digest, db=tables.index)
    place = unpack_index(found)[0]
    pieces = 0
    while tables.transaction.delete(pack_piece(place, pieces), db=tables.queue):
        pieces += 1
    return pieces


def used_bytes(tables: Tables) -> int:
    """Return what both tables take."""
    pages = 0
    for table in (tables.index, tables.queue):
        found = tables.transaction.stat(table)
        pages += found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
    return int(pages * found["psize"])


def empty(tables: Tables) -> None:
    """Take everything out."""
    for table in (tables.queue, tables.index):
        tables.transaction.drop(table, delete=False)


def _pieces(tables: Tables, place: int) -> list[bytes]:
    cursor = tables.transaction.cursor(tables.queue)
    cursor.set_range(pack_piece(place, 0))
    found = []
    for key, piece in cursor.iternext():
        if unpack_piece(key)[0] != place:
            break
        found.append(piece)
    return found
