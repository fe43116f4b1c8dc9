"""WSGI applications for tests, and what a refusal looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.web.path.wsgiserver import Answer

from tonnage.web.path.wsgi import TonnageWSGI

JSON = ("Content-Type", "application/json")
TEXT = ("Content-Type", "text/plain")
LONG_TEXT = b"what is said often is soon said briefly\n" * 1000


def replying(
    *pieces: bytes, headers: Iterable[tuple[str, str]] = (TEXT,), status: str = "200 OK"
) -> Callable[..., list[bytes]]:
    """Return an application that answers with *pieces* in a list."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, list(headers))
        return list(pieces)

    return app


def streaming(*pieces: bytes, headers: Iterable[tuple[str, str]] = (TEXT,)) -> Any:
    """Return an application that is a generator of *pieces*."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(headers))
        yield from pieces

    return app


def echo(environ: Any, start_response: Any) -> list[bytes]:
    """Answer with the body, as far as its length is known."""
    length = environ.get("CONTENT_LENGTH")
    body = environ["wsgi.input"].read(int(length)) if length else b""
    start_response("200 OK", [TEXT])
    return [body]


def refused(answer: Answer, status: int, error: str) -> dict[str, Any]:
    """Assert that *answer* is a refusal, and return what it says."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["content-length"]) == len(answer.body)
    said: dict[str, Any] = answer.json()
    assert said["status"] == status
    assert said["error"] == error
    return said


def limited_response(app: Any, limit: str = "1K") -> TonnageWSGI:
    """Return *app* with a limited response."""
    return TonnageWSGI(app, max_response=limit)
