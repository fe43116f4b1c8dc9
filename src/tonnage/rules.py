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

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError
from tonnage.rates.limits import parse_limits
from tonnage.units import parse_bytes, parse_seconds, parse_switch

if TYPE_CHECKING:
    from tonnage.rates.limits import Limit

# Paths whose rules are remembered, for each process. At some 200 bytes each, 0.4 MB at most.
MOST_REMEMBERED: Final = 2048
_LONGEST_REMEMBERED: Final = 200

# RFC 9110, PATCH, WebDAV and its relatives as registered with IANA, and what caches know.
_METHODS: Final = frozenset(
    """
    CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE
    ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR
    MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH
    UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL
    PURGE QUERY
    """.split()  # noqa: SIM905 - a list would be forty lines
)


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
    #: How many times larger than sent an unpacked body may be.
    decompress_ratio: float | None = None
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
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name}: {given!r} are no rules: write them as in {{'max_body': '1M'}}")
    changes: dict[str, Any] = {"name": name}
    for key, value in given.items():
        found = _READERS.get(str(key).replace("-", "_"))
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
        if not isinstance(routes or {}, Mapping):
            raise ConfigError(
                f"routes={routes!r} makes no sense: write for each route what is different there,"
                " as in {'POST /photos': {'max_upload': '5M'}}"
            )
        self.default = default
        self._routes = tuple(
            (_pattern(name), read_rules(given, default, name))
            for name, given in (routes or {}).items()
        )
        self._known: dict[tuple[str, ...], Rules] = {}

    def all(self) -> tuple[Rules, ...]:
        """Return all rules there are, the default first."""
        return (self.default, *(rules for _, rules in self._routes))

    @property
    def remembered(self) -> int:
        """How many paths are remembered, at most :data:`MOST_REMEMBERED`."""
        return len(self._known)

    def find(self, scope: Mapping[str, Any]) -> Rules:
        """Return the rules for the request of *scope*."""
        if not self._routes:
            return self.default
        # A WebSocket's handshake is a GET.
        method, path, root = scope.get("method", "GET"), scope["path"], scope.get("root_path")
        asked = (method, path, root) if root else (method, path)
        known = self._known.get(asked)
        return known if known is not None else self._look(asked)

    def _look(self, asked: tuple[str, ...]) -> Rules:
        method, path, *root = asked
        # Some frameworks take "post" for POST; so it must not get around the route's limits.
        method, below = method.upper(), _below(path, *root)
        found = self._first(f"{method} {below}")
        if found is None and method == "HEAD":
            found = self._first(f"GET {below}")
        if found is None:
            found = self.default
        if sum(map(len, asked)) <= _LONGEST_REMEMBERED:
            # Invented paths only empty the table.
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[asked] = found
        return found

    def _first(self, asked: str) -> Rules | None:
        return next((rules for fits, rules in self._routes if fits(asked)), None)


def _below(path: str, root_path: str = "") -> str:
    """Return *path* as the application knows it, which is mounted at *root_path*."""
    root = root_path.rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() == "none")


def _seconds(value: Any) -> float:
    seconds = parse_seconds(value)
    if seconds <= 0:
        raise ConfigError("write none to have any time")
    return seconds


def _ratio(value: Any) -> float:
    try:
        ratio = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        ratio = 0.0
    if not 1 <= ratio < math.inf:
        raise ConfigError("write a number of 1 or more")
    return ratio


def _switch(value: Any) -> bool:
    try:
        return parse_switch(value)
    except ConfigError:
        raise ConfigError("write true or false") from None


# By the name a user writes: the field, and what reads its value.
_READERS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "max_body": ("max_body_bytes", parse_bytes),
    "max_upload": ("max_upload_bytes", parse_bytes),
    "max_response": ("max_response_bytes", parse_bytes),
    "timeout": ("timeout_seconds", _seconds),
    "rate_limit": ("rate_limit", parse_limits),
    "compress": ("compress", _switch),
    "decompress": ("decompress", _switch),
    "decompress_ratio": ("decompress_ratio", _ratio),
    "stream": ("stream", _switch),
}
#: What a user may write for a route.
RULES: Final = frozenset(_READERS)
# What stands for no limit.
_NONE: Final = {field.name: field.default for field in fields(Rules)}
assert {field for field, _ in _READERS.values()} == {*_NONE} - {"name"}

_PARAMETER: Final = re.compile(r"\{[^{}/]*\}|<[^<>/]*>")
_UNPAIRED: Final = re.compile(r"[{}<>]")


def _pattern(name: str) -> Callable[[str], re.Match[str] | None]:
    method, _, path = str(name).strip().rpartition(" ")
    method = method.strip().upper()
    example = "write it as 'POST /photos' or '/photos/{id}'"
    if not path.startswith("/"):
        raise ConfigError(f"{name!r} is no route: {example}")
    if method and method not in _METHODS:
        raise ConfigError(
            f"{name!r} has a method that is not known: {example}, which is for any method"
        )
    plain = _PARAMETER.sub("", path)
    if _UNPAIRED.search(plain):
        raise ConfigError(f"{name!r} has a bracket that its segment does not close: {example}")
    if "?" in plain:
        raise ConfigError(f"{name!r} has a query, and a route is a path: {example}")
    parts, end = [], 0
    for found in _PARAMETER.finditer(path):
        parts.append(re.escape(path[end : found.start()]))
        takes_all = found[0].startswith("<path:") or found[0].endswith(":path}")
        parts.append(".*" if takes_all else "[^/]+")
        end = found.end()
    parts.append(re.escape(path[end:]))
    # A path may hold line breaks, too.
    return re.compile(f"{re.escape(method) or '[^ ]*'} {''.join(parts)}", re.DOTALL).fullmatch


def _is_plain(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return (
        not kind
        or kind.endswith((b"json", b"xml", b"/x-www-form-urlencoded"))
        or kind.startswith(b"text/")
    )
