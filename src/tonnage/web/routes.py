"""Which route a request belongs to, before the framework has routed it.

The gate stands before routing, so at first a route's key is method and path with its ids folded
(``GET /users/{}``), with the size class of the body. Once the framework has shown its own template
or endpoint for such a path, that takes over, so that all paths of one endpoint learn together.

Both tables are bounded; a flood of invented paths pushes out old entries and nothing else.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.costs import RouteCost
from tonnage.governor.page import COST_NAME_BYTES, MAX_ROUTES

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from tonnage.governor.page import SharedPage

# Paths remembered for each worker; at about 300 bytes each, 0.6 MB at most.
MAX_PATHS: Final = 2048
# A longer path is not worth remembering whole.
_LONGEST_PATH = 200

_ID = re.compile(r"\d+|[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,}){0,4}|[^/]{33,}|[^/]*\d[^/]{11,}")

# Bodies of one class cost alike; a class spans a factor of four. The last one is for "not told".
_CLASS_BOUNDS = (64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20)
_UNTOLD = "chunked"


def fold(path: str) -> str:
    """Return *path* with ids replaced: ``/users/42/posts`` gives ``/users/{}/posts``."""
    segments = path[:_LONGEST_PATH].split("/")
    return "/".join(["{}" if _ID.fullmatch(segment) else segment for segment in segments])


def body_class(headers: list[tuple[bytes, bytes]]) -> tuple[str, int]:
    """Return the size class of a request's body (empty: under 64 KB) and its announced bytes."""
    for name, value in headers:
        if name == b"content-length":
            length = int(value) if value.isdigit() else 0
            for bound in _CLASS_BOUNDS:
                if length < bound:
                    break
            else:
                return f">{_CLASS_BOUNDS[-1] >> 20}M", length
            return ("" if bound == _CLASS_BOUNDS[0] else f"<{bound >> 10}K"), length
        if name == b"transfer-encoding":
            return _UNTOLD, 0
    return "", 0


class Routes:
    """The routes of this application and their learned costs, shared by all workers."""

    def __init__(self, page: SharedPage) -> None:
        self._page = page
        # (method, path, body class) -> cost, in order of use.
        self._by_path: OrderedDict[tuple[str, str, str], RouteCost] = OrderedDict()
        # Name of a route -> its row, as this worker knows it; the page is the truth. At most
        # MAX_ROUTES, since each value is another row.
        self._by_name: dict[str, RouteCost] = {}
        # Folded key -> the framework's own name for it; bounded like the paths.
        self._templates: OrderedDict[str, str] = OrderedDict()

    def find(self, scope: MutableMapping[str, Any]) -> RouteCost:
        """Return the cost of the route that *scope* seems to belong to."""
        method = scope.get("method", "WS")
        kind, _ = body_class(scope["headers"]) if method not in ("GET", "HEAD") else ("", 0)
        key = (method, scope["path"], kind)
        found = self._by_path.get(key)
        if found is not None:
            return found
        folded = _name(method, fold(scope["path"]), kind)
        cost = self._row(self._templates.get(folded, folded))
        return self._remember(key, cost)

    def learn_template(self, scope: MutableMapping[str, Any], cost: RouteCost) -> RouteCost:
        """Return the cost to charge now that the framework has routed *scope*.

        The first request of a path is charged to its folded name; from then on, to the template.
        """
        template = _template(scope)
        if template is None:
            return cost
        method = scope.get("method", "WS")
        kind, _ = body_class(scope["headers"]) if method not in ("GET", "HEAD") else ("", 0)
        name = _name(method, template, kind)
        if name == cost.name:
            return cost
        folded = _name(method, fold(scope["path"]), kind)
        self._templates[folded] = name
        if len(self._templates) > MAX_PATHS:
            self._templates.popitem(last=False)
        return self._remember((method, scope["path"], kind), self._row(name))

    def known(self) -> list[RouteCost]:
        """Return every route with a row in the page, of whichever worker."""
        names = [bytes(self._page.cost_names(row)).rstrip(b"\0") for row in range(MAX_ROUTES)]
        return [
            RouteCost(name.decode(errors="replace"), self._page.cost_numbers(row))
            for row, name in enumerate(names)
            if name
        ]

    def _remember(self, key: tuple[str, str, str], cost: RouteCost) -> RouteCost:
        self._by_path[key] = cost
        if len(self._by_path) > MAX_PATHS:
            self._by_path.popitem(last=False)
        return cost

    def _row(self, name: str) -> RouteCost:
        """Return the row of *name*: its own, a free one, or the one that it hashes to."""
        label = name.encode(errors="replace")[:COST_NAME_BYTES]
        found = self._by_name.get(name)
        if found is not None:
            return found
        start = hash_of(label) % MAX_ROUTES
        row = self._probe(label, start)
        names = self._page.cost_names(row)
        if bytes(names).rstrip(b"\0") != label:
            # A free row, or, where the table is full, one that somebody else must give up.
            names[:] = label.ljust(COST_NAME_BYTES, b"\0")
            numbers = self._page.cost_numbers(row)
            for index in range(len(numbers)):
                numbers[index] = 0.0
        cost = RouteCost(name, self._page.cost_numbers(row))
        if len(self._by_name) >= MAX_ROUTES:
            self._by_name.clear()
            self._by_path.clear()
        self._by_name[name] = cost
        return cost

    def _probe(self, label: bytes, start: int) -> int:
        # Sixteen places are enough: beyond that the table is as good as full.
        for step in range(16):
            row = (start + step) % MAX_ROUTES
            held = bytes(self._page.cost_names(row)).rstrip(b"\0")
            if not held or held == label:
                return row
        return start


def hash_of(label: bytes) -> int:
    """Return a hash that is the same in every process (FNV-1a; ``hash`` is salted)."""
    value = 0xCBF29CE484222325
    for byte in label:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def _name(method: str, path: str, kind: str) -> str:
    return f"{method} {path} {kind}" if kind else f"{method} {path}"


def _template(scope: MutableMapping[str, Any]) -> str | None:
    """Return the framework's name for where *scope* was routed, if it left one there."""
    route = scope.get("route")
    path = getattr(route, "path", None) if route is not None else None
    if isinstance(path, str):
        return path
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return None
    name = getattr(endpoint, "__qualname__", type(endpoint).__qualname__)
    return f"{getattr(endpoint, '__module__', '?')}.{name}"
