"""What a client asks for, and the shape of what it gets; for any web framework.

    @app.get("/events")
    async def events(query: Annotated[PageQuery, Depends()]) -> dict[str, Any]:     # FastAPI
        async with engine.connect() as connection:
            page = await db.page(connection, select(Event).order_by(Event.starts_at), query)
        return page.body()

Imports no framework, and nothing of databases. Does not make objects into JSON: that is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tonnage.errors import DatabaseError, RequestRefusedError
from tonnage.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Rows of a page where nobody says how many.
USUAL_SIZE: Final = 20
#: Rows of a page where the application says no other maximum.
MOST_ROWS: Final = 100


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The part of a list that a client asks for: parameters of a query, where a framework reads it.

    Args:
        size: rows of a page; above the maximum of the list, it is the maximum.
        after: the cursor of a page before, for what comes after it.
        before: the cursor of a page after, for what comes before it.
    """

    size: int = USUAL_SIZE
    after: str | None = None
    before: str | None = None


def checked_size(size: int, max_size: int) -> int:
    """Return how many rows a page is to have: *size*, and *max_size* at most.

    Raises:
        RequestRefusedError: a page of no rows is asked for.
        DatabaseError: the application gives what is no number, or a maximum of no rows.
    """
    check_whole("size", size)
    check_whole("max_size", max_size, least=1)
    if size < 1:
        raise refused_page("size", f"a page has 1 row at least, and {max_size} at most")
    return min(size, max_size)


def check_whole(name: str, value: object, least: int | None = None) -> None:
    """Raise a DatabaseError where *value* is no whole number, or below *least*."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise DatabaseError(
            f"{name}= is a whole number, and {value!r:.40} is a {type(value).__name__}:"
            " convert what a client has sent, and answer what cannot be converted"
        )
    if least is not None and value < least:
        raise DatabaseError(f"{name}= is {least} or more, and not {value}")


def refused_page(parameter: str, detail: str) -> RequestRefusedError:
    """Return the refusal of a page that cannot be had."""
    return RequestRefusedError(Problem(400, "bad_page", detail, {"parameter": parameter}))


def plain_items(rows: Iterable[Any]) -> list[Any]:
    """Return *rows* with those that have several columns as dictionaries."""
    return [dict(row._mapping) if hasattr(row, "_mapping") else row for row in rows]


def link_header(url: str, places: Mapping[str, Mapping[str, object] | None]) -> str:
    """Return the value of a ``Link`` header (RFC 8288).

    Args:
        url: of the page itself; it may be relative.
        places: for each relation, such as ``next``, what its URL has instead; None: there is none.
    """
    parts = urlsplit(url)
    moved = {name for place in places.values() for name in place or ()} | {"after", "before"}
    kept = [(name, value) for name, value in parse_qsl(parts.query, True) if name not in moved]
    links = []
    for relation, place in places.items():
        if place is not None:
            query = urlencode([*kept, *((name, str(value)) for name, value in place.items())])
            links.append(f'<{urlunsplit(parts._replace(query=query))}>; rel="{relation}"')
    return ", ".join(links)
