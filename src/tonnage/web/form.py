"""The token that somebody sends to log in: a small form, or JSON.

Bounded: :data:`LONGEST_BYTES`. That a body may not come too slowly is the server's own affair.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from tonnage.web.respond import Receive, Scope

LONGEST_BYTES: Final = 4096
_MOST_FIELDS: Final = 8


class TooLongError(Exception):
    """The body is longer than :data:`LONGEST_BYTES`."""


async def given_token(scope: Scope, receive: Receive) -> tuple[str | None, bool]:
    """Return the field ``token`` of a body (None: there is none), and whether it is a form's.

    Raises:
        TooLongError: nobody's token is so long; the rest of the body is not read.
    """
    kind = dict(scope["headers"]).get(b"content-type", b"").lower()
    is_form = not kind.startswith(b"application/json")
    body = await _body(receive)
    if body is None:
        return None, is_form
    try:
        if is_form:
            text = body.decode("ascii")
            token = dict(parse_qsl(text, max_num_fields=_MOST_FIELDS)).get("token")
        else:
            found = json.loads(body)
            token = found.get("token") if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        return None, is_form
    return (token.strip() if isinstance(token, str) and token.strip() else None), is_form


async def _body(receive: Receive) -> bytes | None:
    """Return the body; None if its sender has gone."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > LONGEST_BYTES:
            raise TooLongError
        more = message.get("more_body", False)
    return body
