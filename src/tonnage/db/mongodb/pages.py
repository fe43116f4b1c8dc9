"""Pages of a collection, by keyset, and projections: the parts of a collection that are wanted.

    await events.page({"city": "Porto"}, sort=[("starts_at", -1)], after=cursor, size=20)
    await events.find({}, only("title", "city")).to_list()

Promises, as :mod:`tonnage.db.paging.pages` does for SQL: the pages together have each document once
that is there throughout and keeps its place; no page has more than ``max_size``; and its place is
found by an index that has the fields of the filter and of the sort, ``_id`` last.

A field that is sorted by holds values of one type, or null, or is missing, which sort alike: what
MongoDB calls type bracketing keeps other types out. Arrays cannot be sorted by. Cursors can be
read by whoever has them, and are those of :mod:`tonnage.db.paging.cursors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bson import Int64, ObjectId
from bson.errors import InvalidId

from tonnage.db.paging.cursors import Cursors, refused
from tonnage.db.paging.page import Page
from tonnage.db.paging.web import PageQuery, checked_size, refused_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tonnage.db.mongodb.named import Collection

Sort = str | list[tuple[str, int]]
Keys = list[tuple[str, int]]

_ID: Final = "_id"


def only(*fields: str) -> dict[str, int]:
    """Return the projection of these *fields*, and of no other; not even ``_id``.

    Raises:
        ValueError: no field is named, or one is no name.
    """
    for field in fields or ("",):
        _check_name(field)
    return {_ID: 0} | dict.fromkeys(fields, 1)


def _check_name(field: object) -> None:
    if not isinstance(field, str) or not field or field.startswith("$") or "\x00" in field:
        raise ValueError(f"{field!r:.60} is no name of a field")


def keys_of(sort: Sort) -> Keys:
    """Return what documents are sorted by: *sort*, and ``_id`` where that is not in it.

    Raises:
        ValueError: a direction is neither 1 nor -1, or a field is there twice.
    """
    keys = [(sort, 1)] if isinstance(sort, str) else [(str(field), way) for field, way in sort]
    for field, _ in keys:
        _check_name(field)
    if not keys or any(way not in (1, -1) for _, way in keys):
        raise ValueError("pages are sorted by fields, each with the direction 1 or -1")
    if len({field for field, _ in keys}) < len(keys):
        raise ValueError("pages are sorted by a field once")
    names = [field for field, _ in keys]
    if _ID in names:
        return keys[: names.index(_ID) + 1]  # nothing after it makes a difference
    return [*keys, (_ID, keys[-1][1])]


def filter_after(keys: Keys, values: Sequence[Any]) -> dict[str, Any] | None:
    """Return what is true for the documents after the one with *values*; None: there are none."""
    steps: list[dict[str, Any]] = []
    for at, (field, way) in enumerate(keys):
        beyond = _beyond(field, way, values[at])
        if beyond is not None:
            same = [{before: {"$eq": values[nth]}} for nth, (before, _) in enumerate(keys[:at])]
            steps.append({"$and": [*same, beyond]} if same else beyond)
    if not steps:
        return None
    return steps[0] if len(steps) == 1 else {"$or": steps}


def _beyond(field: str, way: int, value: Any) -> dict[str, Any] | None:
    # Null, and to be missing, is less than everything.
    if value is None:
        return {field: {"$exists": True, "$ne": None}} if way == 1 else None
    if way == 1:
        return {field: {"$gt": value}}
    less: dict[str, Any] = {field: {"$lt": value}}
    return less if field == _ID else {"$or": [less, {field: {"$eq": None}}]}


async def page_of_documents(
    collection: Collection,
    wanted: Mapping[str, Any],
    query: PageQuery,
    sort: Sort,
    projection: Mapping[str, Any] | Iterable[str] | None,
    *,
    max_size: int,
    secret: str | bytes | None,
) -> Page[dict[str, Any]]:
    """Ask for a page; see :meth:`tonnage.db.mongodb.named.Collection.page`."""
    if query.after is not None and query.before is not None:
        raise refused_page("before", "a page comes after a cursor or before one, not both")
    if type(query.size) is not int or type(max_size) is not int or max_size < 1:
        raise ValueError(
            f"a page has a whole number of documents, not {query.size!r:.40} of {max_size!r:.40}"
        )
    size = checked_size(query.size, max_size)
    keys = keys_of(sort)
    is_backward = query.before is not None
    cursor = query.before if is_backward else query.after
    ordered = [(field, -way) for field, way in keys] if is_backward else keys
    cursors = Cursors(f"{collection.name} {keys}", secret)
    spec: dict[str, Any] | None = dict(wanted)
    if cursor is not None:
        after = filter_after(ordered, [_value(each) for each in cursors.read(cursor, len(keys))])
        spec = None if after is None else {"$and": [wanted, after]} if wanted else after
    shown, hidden = _with_keys(projection, keys)
    found: list[dict[str, Any]] = []
    if spec is not None:
        asked = collection.find(spec, shown).sort(ordered).limit(size + 1)
        found = await asked.to_list()
    return _page_of(found, keys, hidden, cursors, query, size)


def _page_of(
    found: list[dict[str, Any]],
    keys: Keys,
    hidden: list[str],
    cursors: Cursors,
    query: PageQuery,
    size: int,
) -> Page[dict[str, Any]]:
    """Return the page of *found*, which has one document too many where there are more."""
    is_backward = query.before is not None
    cursor = query.before if is_backward else query.after
    has_more = len(found) > size
    del found[size:]
    if is_backward:
        found.reverse()
    has_next = cursor is not None if is_backward else has_more
    has_previous = has_more if is_backward else cursor is not None
    ends = [[_written(_get(each, field)) for field, _ in keys] for each in (found[:1] + found[-1:])]
    for each in found:
        for field in hidden:
            _drop(each, field)
    return Page(
        found,
        next=cursors.write(ends[-1]) if found and has_next else None,
        previous=cursors.write(ends[0]) if found and has_previous else None,
        size=size,
    )


def _with_keys(
    projection: Mapping[str, Any] | Iterable[str] | None, keys: Keys
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return *projection* with what documents are sorted by, and which fields that has added."""
    if projection is None:
        return None, []
    given: dict[str, Any] = (
        dict(projection) if isinstance(projection, Mapping) else dict.fromkeys(projection, 1)
    )
    is_excluding = any(not way for field, way in given.items() if field != _ID)
    hidden = []
    for field, _ in keys:
        if field == _ID:
            if given.pop(_ID, 1) in (0, False):
                hidden.append(_ID)
        elif is_excluding:
            if field in given:
                raise ValueError(f"pages are sorted by {field!r}, which the projection leaves out")
        elif any(name.startswith(f"{field}.") for name in given):
            raise ValueError(f"pages are sorted by {field!r}, of which the projection has a part")
        elif not any(field == name or field.startswith(f"{name}.") for name in given):
            hidden.append(_unwanted(field, list(given)))
            given[field] = 1
    return given or None, hidden


def _unwanted(field: str, wanted: list[str]) -> str:
    """Return the outermost of what *field* is in that has nothing *wanted*."""
    path = field.split(".")
    outer = (".".join(path[: length + 1]) for length in range(len(path)))
    return next(each for each in outer if not any(name.startswith(f"{each}.") for name in wanted))


def _drop(document: Any, field: str) -> None:
    """Take the value at a dotted *field* out, if it is there."""
    outer, _, name = field.rpartition(".")
    inner = _get(document, outer) if outer else document
    if isinstance(inner, dict):
        inner.pop(name, None)
    document.pop(field, None)
    # Of a server that has dotted fields under their dotted name.
    for each in [each for each in document if each.startswith(f"{field}.")]:
        del document[each]


def _get(document: Any, field: str) -> Any:
    """Return the value at a dotted *field*; None where it is missing."""
    if field in document:  # also of a server that has it under its dotted name
        return document[field]
    for name in field.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _written(value: Any) -> Any:
    """Return *value* as a cursor can hold it: texts begin with ``s``, ObjectIds with ``o``."""
    if isinstance(value, ObjectId):
        return f"o{value}"
    if isinstance(value, str):
        return f"s{value}"
    return int(value) if isinstance(value, Int64) else value


def _value(written: Any) -> Any:
    if not isinstance(written, str):
        return written
    if written.startswith("s"):
        return written[1:]
    try:
        return ObjectId(written[1:])
    except InvalidId:
        raise refused("it does not fit this list") from None
