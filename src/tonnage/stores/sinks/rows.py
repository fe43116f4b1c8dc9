"""Records as rows: those with the same keys together, each as a tuple in the order of its columns.

So a record that lacks a key gets the default of that column. Pure; holds what it returns, which
refers to the records' own values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import RecordsRejectedError

if TYPE_CHECKING:
    from tonnage.stores.sinks.sink import Batch

    Columns = tuple[str, ...]
    Rows = list[tuple[Any, ...]]
    Records = Sequence[Mapping[str, Any]]

# The end of a text for PostgreSQL, and halves of characters. asyncpg finds these when half of its
# request is written, and its connection is of no use afterwards.
_UNSPEAKABLE: Final = re.compile("[\0\ud800-\udfff]")


def with_ids(batch: Batch, id_column: str | None) -> Records:
    """Return the records of *batch*, with their ids as *id_column*, if there are such.

    What a record itself has there stays, unless it is None.
    """
    if id_column is None or batch.ids is None:
        return batch.records
    return [
        {**record, id_column: its_id} if record.get(id_column) is None else record
        for record, its_id in zip(batch.records, batch.ids, strict=True)
    ]


def own_ids(batch: Batch, id_column: str | None) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    """Yield each record of *batch* with what it is known by: as *id_column*, or by the writer."""
    for record, its_id in zip(batch.records, batch.ids or repeat(None), strict=False):
        own = None if id_column is None else record.get(id_column)
        yield record, its_id if own is None else str(own)


def rows_by_columns(records: Records, columns: Columns | None = None) -> list[tuple[Columns, Rows]]:
    """Return the records' values for each set of keys that occurs: most often, that is one.

    Args:
        records: one at least.
        columns: all that there may be; a record that lacks one of them has None there.

    Raises:
        RecordsRejectedError: a record has a key that is not among *columns*, or that is the name of
            no column anywhere; or it has no keys.
    """
    if columns is not None:
        return [(columns, _filled(columns, records))]
    columns = _names(records[0])
    if all(map(len(columns).__eq__, map(len, records))):
        # As many keys as the first one, and none of its keys missing: alike, and found out quickly.
        try:
            return [(columns, _rows(columns, records))]
        except KeyError:
            pass
    groups = [(_names(those[0]), those) for those in alike(records)]
    return [(names, _rows(names, those)) for names, those in groups]


def alike(records: Records) -> list[Records]:
    """Return the records, those with the same keys together; those of each stay in order."""
    first = records[0].keys()
    if all(record.keys() == first for record in records):
        return [records]
    found: dict[frozenset[str], list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault(frozenset(record), []).append(record)
    return list(found.values())


def _names(record: Mapping[Any, Any]) -> Columns:
    """Return the keys of *record*, which may have been sent by anybody."""
    if not record:
        raise RecordsRejectedError("a record without keys")
    for key in record:
        if not isinstance(key, str) or not key or _UNSPEAKABLE.search(key):
            raise RecordsRejectedError(f"no column is called {key!r}")
    return tuple(record)


def _rows(columns: Columns, records: Records) -> Rows:
    if len(columns) > 1:
        return list(map(itemgetter(*columns), records))
    return [tuple(record[column] for column in columns) for record in records]


def _filled(columns: Columns, records: Records) -> Rows:
    known = frozenset(columns)
    for record in records:
        if not known.issuperset(record):
            unknown = ", ".join(repr(key) for key in record if key not in known)
            raise RecordsRejectedError(f"no column is called {unknown}")
    return [tuple(map(record.get, columns)) for record in records]
