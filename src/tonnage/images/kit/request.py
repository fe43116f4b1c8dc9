"""What a request to a mounted application asks for: its path within the mount, its query, headers.

Frameworks differ in what a mounted application gets: Starlette and FastAPI leave the whole path and
say in ``root_path`` how much of it is the mount's; Litestar has taken that off. What the client
wrote is in ``raw_path`` either way, and that is what links are made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from tonnage.web.respond import Scope

_MOST_FIELDS = 16


class MountedRequest:
    """One request.

    Attributes:
        scope: as the server has it.
        method: GET for HEAD too.
        parts: the path within the mount, at its slashes.
        prefix: the path of the mount, without a slash at its end.
    """

    __slots__ = ("method", "parts", "prefix", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path, root = scope["path"], scope.get("root_path", "")
        inner = path[len(root) :] if root and path.startswith(root) else path
        self.parts = tuple(part for part in inner.split("/") if part)
        whole = unquote((scope.get("raw_path") or path.encode()).partition(b"?")[0].decode("ascii"))
        inside = inner.strip("/")
        self.prefix: str = whole.rstrip("/").removesuffix(inside).rstrip("/")

    def header(self, name: bytes) -> str:
        """Return the first header called *name*, which is in lower case; "": there is none."""
        found = (value for each, value in self.scope["headers"] if each == name)
        return next(found, b"").decode("latin-1").strip()

    def query(self, name: str) -> str:
        """Return the last field of that name in the query; "": there is none."""
        text: str = self.scope.get("query_string", b"").decode("latin-1")
        try:
            fields = parse_qsl(text, max_num_fields=_MOST_FIELDS)
        except ValueError:  # there are more
            return ""
        return next((value for each, value in fields if each == name), "")

    def wait_seconds(self, most_seconds: float) -> float:
        """Return how long the client would wait for the result: ``?wait=20``, ``Prefer: wait=20``.

        What is no number of seconds is no wish (RFC 7240).
        """
        wished = self.query("wait")
        for wish in self.header(b"prefer").split(","):
            name, _, value = wish.partition("=")
            if name.strip().lower() == "wait" and not wished:
                wished = value.strip()
        return min(float(wished), most_seconds) if wished.isascii() and wished.isdigit() else 0.0
