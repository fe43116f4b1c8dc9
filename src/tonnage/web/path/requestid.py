"""An id for each request: that of a proxy in front, if it makes sense, or one of our own.

The application finds it in ``scope["tonnage.request_id"]`` (WSGI: ``environ``), each line that is
logged meanwhile has it (:mod:`tonnage.logs.context`), and the response in ``X-Request-ID``, instead
of one that the application has set. What a client sends is taken for an id if it is of 1 to 128
letters, digits and ``._~+/=:@-``: it ends up in logs. Nobody but you knows whether a client or your
proxy has sent it, so it is nothing to rely on.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from tonnage.logs.context import current

if TYPE_CHECKING:
    from tonnage.web.respond import Scope

HEADER: Final = b"x-request-id"
#: Where an application finds it, in the scope or the environ.
KEY: Final = "tonnage.request_id"

_SANE: Final = re.compile(rb"[\w.~+/=:@-]{1,128}")


def identify(scope: Scope) -> tuple[bytes, bytes]:
    """Give the request of *scope* its id, and return the header for its response.

    The context keeps it. Of an ASGI request that is its own, and ends with it; a thread of a WSGI
    server has it until its next request, so that what the server logs at the end has it too.
    """
    sent = _sent(scope)
    # As long as a UUID, and no less random; one has no better way to be unique.
    used = sent if _SANE.fullmatch(sent) else os.urandom(16).hex().encode()
    scope[KEY] = text = used.decode()
    current.set(text)
    return HEADER, used


def _sent(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == HEADER:
            return bytes(value)
    return b""
