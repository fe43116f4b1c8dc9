"""A WSGI server of one request, which holds both sides to the standard (wsgiref.validate)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client got; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    #: The body in the pieces that the server was given.
    pieces: list[bytes]
    #: What ended it before its end.
    error: Exception | None

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def ask(
    app: Any,
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes = b"",
    is_chunked: bool = False,
    server: dict[str, Any] | None = None,
    is_strict: bool = True,
    **headers: str,
) -> Answer:
    """Return what *app* answers; underscores in header names stand for hyphens.

    Args:
        app: a WSGI application.
        path: the path.
        method: the method.
        body: the body.
        is_chunked: whether its length is not announced, as with chunks.
        server: variables that the server sets.
        is_strict: whether it is held to the standard; for requests that are not.
        headers: of the request.
    """
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path}
    environ |= {"SCRIPT_NAME": "", "QUERY_STRING": ""}
    environ |= {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "4711"}
    if is_chunked:
        environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    elif body:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in headers.items():
        name = name.upper()
        environ["CONTENT_TYPE" if name == "CONTENT_TYPE" else f"HTTP_{name}"] = value
    environ |= {"wsgi.input": io.BytesIO(body), **(server or {})}
    setup_testing_defaults(environ)
    return _serve(validator(app) if is_strict else app, environ)


def _serve(app: Any, environ: dict[str, Any]) -> Answer:
    started: list[tuple[str, list[tuple[str, str]]]] = []
    pieces: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        assert not pieces, "a response begins before its first byte"
        assert not started or exc_info is not None
        started[:] = [(status, headers)]
        return pieces.append

    error: Exception | None = None
    response: Iterable[bytes] = app(environ, start_response)
    try:
        pieces.extend(piece for piece in response)
    except Exception as cut:  # noqa: BLE001 - a server logs it, and closes
        error = cut
    finally:
        getattr(response, "close", lambda: None)()
    status, headers = started[0]
    return Answer(
        int(status[:3]),
        {name.lower(): value for name, value in headers},
        b"".join(pieces),
        pieces,
        error,
    )
