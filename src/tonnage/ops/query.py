"""The query of an operator's request: known names only, each once, with what to write if not."""

from __future__ import annotations

_MOST_FIELDS = 8


class QueryError(ValueError):
    """The query makes no sense; the message says what to write."""


def read_query(text: str, *known: str) -> dict[str, str]:
    """Return the query *text*, of which only *known* names may be there, each once.

    Raises:
        QueryError: it is something else.
    """
    if not text:
        return {}
    # Imported when somebody asks with a query: the supervisor has no other use for it.
    from urllib.parse import parse_qsl

    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise QueryError("the query is not of the form name=value&name=value") from error
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= set(known):
        what = " and ".join(known) or "nothing"
        raise QueryError(f"the query may hold {what}, once each")
    return found


def whole_number(name: str, text: str, least: int, most: int) -> int:
    """Return the number that *text* is.

    Raises:
        QueryError: it is none, or out of range.
    """
    if text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise QueryError(f"{name}={text[:20]!r} is no whole number from {least} to {most}")
