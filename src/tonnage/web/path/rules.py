"""What applies to a request: the limits of its route, or those of all.

Covers reading them as a user writes them (``max_body="1M"``), the routes that differ, and finding
the rules of a request. Does not cover enforcing them (:mod:`tonnage.web.path.passage`).

A route is named as in ``POST /photos``, ``/photos/{id}`` (any method) or ``/static/{path:path}``
(with all that lies below), or as Flask and Django write it, ``/photos/<int:id>``; the first that
fits counts, in the order written. What holds for GET holds for HEAD, if that is not named by
itself, and for opening a WebSocket. What a route does not say is as for all; ``"none"`` takes a
limit away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError
from tonnage.units import parse_bytes, parse_seconds
from tonnage.web.path.rates import parse_limits

if TYPE_CHECKING:
    from tonnage.web.path.rates import Limit
    from tonnage.web.respond import Scope

# Paths whose rules are remembered, for each process. At some 200 bytes each, 0.4 MB at most.
MOST_REMEMBERED: Final = 2048
_LONGEST_REMEMBERED: Final = 200

_WORDS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of one route; None, or false, means that there is none."""

    #: The name of the route as it was written; "default" for all others.
    name: str = "default"
    #: Of a body: JSON, a form, a text.
    max_body_bytes: int | None = None
    #: Of a body that brings files: multipart, or of another type. Where it is not set, as above.
    max_upload_bytes: int | None = None
    max_response_bytes: int | None = None
    #: Until the response begins, and then between one part of it and the next.
    timeout_seconds: float | None = None
    rate_limit: tuple[Limit, ...] = ()
    compress: bool = False
    decompress: bool = False
    #: Its responses have no end, as event streams: no limit of size or time.
    stream: bool = False

    @property
    def are_limiting_bodies(self) -> bool:
        """Whether anything is to be counted in a body."""
        return self.max_body_bytes is not None or self.max_upload_bytes is not None

    def body_limit_bytes(self, content_type: bytes) -> int | None:
        """Return how large a body of *content_type* may be; None: any size."""
        upload = self.max_upload_bytes
        return self.max_body_bytes if upload is None or _is_plain(content_type) else upload


def read_rules(given: Mapping[str, Any], base: Rules | None = None, name: str = "default") -> Rules:
    """Return *base* with what *given* says: sizes, times and limits as text, or as numbers.

    Raises:
        ConfigError: a name is unknown, or a value makes no sense.
    """
    changes: dict[str, Any] = {"name": name}
    for key, value in given.items():
        found = _READERS.get(key.replace("-", "_"))
        if found is None:
            raise ConfigError(f"{name}: there is no rule {key!r}; there are {', '.join(_READERS)}")
        target, read = found
        try:
            changes[target] = _NONE[target] if _is_none(value) else read(value)
        except (ConfigError, ValueError, TypeError) as error:
            raise ConfigError(f"{name}: {key}={value!r} makes no sense: {error}") from error
    return replace(base or Rules(), **changes)


class RuleBook:
    """The rules of an application.

    Args:
        default: what applies where no route says otherwise.
        routes: by the route's name, what is different there.

    Raises:
        ConfigError: a route's name or rule makes no sense.
    """

    def __init__(
        self, default: Rules, routes: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.default = default
        self._routes = tuple(
            (_pattern(name), read_rules(given, default, name))
            for name, given in (routes or {}).items()
        )
        self._known: dict[tuple[str, str], Rules] = {}

    def all(self) -> tuple[Rules, ...]:
        """Return all rules there are, the default first."""
        return (self.default, *(rules for _, rules in self._routes))

    @property
    def remembered(self) -> int:
        """How many paths are remembered, at most :data:`MOST_REMEMBERED`."""
        return len(self._known)

    def find(self, scope: Scope) -> Rules:
        """Return the rules for the request of *scope*."""
        if not self._routes:
            return self.default
        # A WebSocket's handshake is a GET.
        method, path = scope.get("method", "GET"), scope["path"]
        known = self._known.get((method, path))
        return known if known is not None else self._look(method, path, scope)

    def _look(self, method: str, path: str, scope: Scope) -> Rules:
        below = _below(path, scope.get("root_path", ""))
        found = self._first(f"{method} {below}")
        if found is None and method == "HEAD":
            found = self._first(f"GET {below}")
        if found is None:
            found = self.default
        if len(path) <= _LONGEST_REMEMBERED:
            # Invented paths only empty the table.
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[method, path] = found
        return found

    def _first(self, asked: str) -> Rules | None:
        return next((rules for fits, rules in self._routes if fits(asked)), None)


def _below(path: str, root_path: str) -> str:
    """Return *path* as the application knows it, which is mounted at *root_path*."""
    root = root_path.rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() == "none")


def _size(value: Any) -> int:
    return parse_bytes(value)


def _seconds(value: Any) -> float:
    seconds = parse_seconds(value)
    if seconds <= 0:
        raise ConfigError("write none to have any time")
    return seconds


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = _WORDS.get(str(value).strip().lower())
    if word is None:
        raise ConfigError("write true or false")
    return word


# By the name a user writes: the field, and what reads its value.
_READERS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "max_body": ("max_body_bytes", _size),
    "max_upload": ("max_upload_bytes", _size),
    "max_response": ("max_response_bytes", _size),
    "timeout": ("timeout_seconds", _seconds),
    "rate_limit": ("rate_limit", parse_limits),
    "compress": ("compress", _switch),
    "decompress": ("decompress", _switch),
    "stream": ("stream", _switch),
}
# What stands for no limit.
_NONE: Final = {field.name: field.default for field in fields(Rules)}
assert {field for field, _ in _READERS.values()} == {*_NONE} - {"name"}

_METHOD: Final = re.compile(r"[A-Z]+")
_PARAMETER: Final = re.compile(r"\{[^{}/]*\}|<[^<>/]*>")


def _pattern(name: str) -> Callable[[str], re.Match[str] | None]:
    method, _, path = name.strip().rpartition(" ")
    method = method.strip().upper()
    if not path.startswith("/") or (method and not _METHOD.fullmatch(method)):
        raise ConfigError(f"{name!r} is no route: write it as 'POST /photos' or '/photos/{{id}}'")
    parts, end = [], 0
    for found in _PARAMETER.finditer(path):
        parts.append(re.escape(path[end : found.start()]))
        takes_all = found[0].startswith("<path:") or found[0].endswith(":path}")
        parts.append(".*" if takes_all else "[^/]+")
        end = found.end()
    parts.append(re.escape(path[end:]))
    # A path may hold line breaks, too.
    return re.compile(f"{method or '[A-Z]+'} {''.join(parts)}", re.DOTALL).fullmatch


def _is_plain(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return (
        not kind
        or kind.endswith((b"json", b"xml", b"/x-www-form-urlencoded"))
        or kind.startswith(b"text/")
    )
