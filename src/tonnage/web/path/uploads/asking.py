"""What a request is, however the framework or the server hands it over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage.web.path.uploads.errors import UploadMalformedError

if TYPE_CHECKING:
    from tonnage.web.respond import Receive


class Readable(Protocol):
    """What a body can be read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes, and none at the end."""
        ...


class Request(Protocol):
    """What is used of a request of Starlette, FastAPI or Litestar."""

    @property
    def scope(self) -> Any:
        """ASGI's scope."""

    @property
    def receive(self) -> Any:
        """ASGI's receive."""


def asgi_of(
    request: Request | Mapping[str, Any], receive: Receive | None
) -> tuple[Mapping[str, Any], Receive]:
    """Return the scope and receive of *request*.

    Raises:
        TypeError: it has none.
    """
    if isinstance(request, Mapping) and receive is not None:
        scope: Mapping[str, Any] = request
        # A request of Starlette is a mapping as well: its scope.
        return scope, receive
    try:
        return request.scope, request.receive  # type: ignore[union-attr]
    except AttributeError:
        raise TypeError(
            f"{type(request).__name__} is no request with a scope and a receive: "
            "hand both over, as in uploads.receive(scope, receive)"
        ) from None


_HEADERS: Final = {
    b"content-type": "content_type",
    b"content-length": "content_length",
    b"content-encoding": "content_encoding",
    b"content-disposition": "content_disposition",
}


def headers_of(scope: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the headers of ASGI's *scope* that an intake judges, as its keywords.

    Raises:
        UploadMalformedError: one of them was sent twice.
    """
    found: dict[str, bytes] = {}
    for name, value in scope["headers"]:
        keyword = _HEADERS.get(name)
        if keyword is None:
            continue
        if keyword in found:
            raise UploadMalformedError(f"the header {name.decode()} was sent twice")
        found[keyword] = value
    return found
