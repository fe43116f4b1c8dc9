"""Which route a request belongs to, before the framework has routed it.

The gate stands before routing, so at first a route's key is method and path with its ids folded
(``GET /users/{}``), with the size class of the body. Once the framework has shown its own template
or endpoint for such a path, that takes over, so that all paths of one endpoint learn together.

Both tables are bounded; a flood of invented paths pushes out old entries and nothing else.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.costs import RouteCost
from tonnage.governor.page import COST_NAME_BYTES, MAX_ROUTES

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from tonnage.governor.page import SharedPage

#: Where the gate notes in a request's scope what it calls its route.
ROUTE: Final = "tonnage.route"
#: Where the framework's own template is noted, if the framework does not leave one itself.
TEMPLATE: Final = "tonnage.template"
#: What :data:`ROUTE` has for what operators ask, which is no request of the application's.
OPERATIONS: Final = "(operations)"

# Paths remembered for each worker; at about 300 bytes each, 0.6 MB at most.
MAX_PATHS: Final = 2048
# Where a route's row is looked for: beyond so many places the table is as good as full.
_NEIGHBOURS = 16
# A longer path is not worth remembering whole.
_LONGEST_PATH = 200

_ID = re.compile(r"\d+|[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,}){0,4}|[^/]{33,}|[^/]*\d[^/]{11,}")

# Bodies of one class cost alike; a class spans a factor of four. The last one is for "not told".
_CLASS_BOUNDS = (64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20)
_UNTOLD = "chunked"
#: From here on all bodies are of one class.
LARGEST_CLASS_BYTES: Final = _CLASS_BOUNDS[-1]


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
        # Path of a GET, or (method, path, body class) -> cost, in order of first sight.
        self._by_path: OrderedDict[str | tuple[str, str, str], RouteCost] = OrderedDict()
        # Name of a route -> its cost, as this worker knows it; the page is the truth. At most
        # MAX_ROUTES names.
        self._by_name: dict[str, RouteCost] = {}
        # Folded key -> the framework's own name for it; bounded like the paths.
        self._templates: OrderedDict[str, str] = OrderedDict()

    def find(self, scope: MutableMapping[str, Any]) -> RouteCost:
        """Return the cost of the route that *scope* seems to belong to."""
        # Most requests are GETs, and their path is a key that need not be made.
        is_get = scope.get("method") == "GET"
        found = self._by_path.get(scope["path"] if is_get else _key(scope))
        if found is not None:
            return found
        key = _key(scope)
        folded = _folded(key)
        return self._remember(key, self._row(self._templates.get(folded, folded)))

    def seen(self, scope: MutableMapping[str, Any]) -> str | None:
        """Return the name of the route that *scope* seems to belong to, if its path is known.

        For what was refused before the gate: unlike :meth:`find` it makes nothing known.
        """
        key = _key(scope)
        found = self._by_path.get(key[1] if key[0] == "GET" else key)
        return found.name if found is not None else self._templates.get(_folded(key))

    def learn_template(self, scope: MutableMapping[str, Any], cost: RouteCost) -> RouteCost:
        """Return the cost to charge now that the framework has routed *scope*.

        The first request of a path is charged to its folded name; from then on, to the template.
        """
        key, name = _key(scope), routed_name(scope, cost)
        if name != cost.name:
            self._templates[_folded(key)] = name
            if len(self._templates) > MAX_PATHS:
                self._templates.popitem(last=False)
        elif self._still_holds(cost):
            return cost
        else:
            # Another route needed the row, perhaps in another worker.
            self._by_name.pop(name, None)
        learned = self._row(name)
        if name != cost.name and self._label_in(cost.row) == _label(cost.name):
            # What others see in flight on the path's own row is called alike from now on.
            self._page.note_template(cost.row, learned.row)
            learned.close_as(cost)
        return self._remember(key, learned)

    def _remember(self, key: tuple[str, str, str], cost: RouteCost) -> RouteCost:
        self._by_path[key[1] if key[0] == "GET" else key] = cost
        if len(self._by_path) > MAX_PATHS:
            self._by_path.popitem(last=False)
        return cost

    def _row(self, name: str) -> RouteCost:
        """Return the row of *name*: its own, a free one, or one that another must give up."""
        found = self._by_name.get(name)
        if found is not None:
            return found
        label = _label(name)
        row = self._probe(label)
        numbers = self._page.cost_numbers(row)
        if self._label_in(row) != label:
            self._page.cost_names(row)[:] = label.ljust(COST_NAME_BYTES, b"\0")
            for index in range(len(numbers)):
                numbers[index] = 0.0
        if len(self._by_name) >= MAX_ROUTES:
            self._by_name.clear()
            self._by_path.clear()
        cost = self._by_name[name] = RouteCost(name, numbers, row)
        return cost

    def _probe(self, label: bytes) -> int:
        """Return the row that has *label*, or is free, or was seen least among its neighbours.

        So a flood of invented paths, each seen once, takes rows from itself: a route that serves
        real requests does not lose what was learned, nor can it be passed off as a small one.
        """
        start = hash_of(label)
        rows = [(start + step) % MAX_ROUTES for step in range(_NEIGHBOURS)]
        for row in rows:
            held = self._label_in(row)
            if not held or held == label:
                return row
        return min(rows, key=self._total_observations)

    def _total_observations(self, row: int) -> int:
        return RouteCost("", self._page.cost_numbers(row)).total_observations

    def _still_holds(self, cost: RouteCost) -> bool:
        mine = self._by_name.get(cost.name)
        return mine is cost and self._label_in(cost.row) == _label(cost.name)

    def _label_in(self, row: int) -> bytes:
        return bytes(self._page.cost_names(row)).rstrip(b"\0")


def routed_name(scope: MutableMapping[str, Any], cost: RouteCost) -> str:
    """Return what to call the route of *scope*: by its template, as soon as it is routed.

    *cost* is the one that the request is charged to, perhaps by its path.
    """
    template = _template(scope)
    if template is None:
        return cost.name
    method, _, kind = _key(scope)
    return _name(method, template, kind)


def framework_name(scope: MutableMapping[str, Any]) -> str | None:
    """Return method and template of the route that the framework has found; None: not yet.

    Whatever the size of its body.
    """
    template = _template(scope)
    return None if template is None else _name(scope.get("method", "WS"), template, "")


def without_body_class(name: str, scope: MutableMapping[str, Any]) -> str:
    """Return the *name* of the route of *scope* without the class of its body."""
    kind = _key(scope)[2]
    return name.removesuffix(f" {kind}") if kind else name


def hash_of(label: bytes) -> int:
    """Return a hash that is the same in every process (FNV-1a; ``hash`` is salted)."""
    value = 0xCBF29CE484222325
    for byte in label:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def _key(scope: MutableMapping[str, Any]) -> tuple[str, str, str]:
    method = scope.get("method", "WS")
    kind = "" if method in ("GET", "HEAD") else body_class(scope["headers"])[0]
    return method, scope["path"][:_LONGEST_PATH], kind


def _folded(key: tuple[str, str, str]) -> str:
    method, path, kind = key
    return _name(method, fold(path), kind)


def _label(name: str) -> bytes:
    return name.encode(errors="replace")[:COST_NAME_BYTES].rstrip(b"\0")


def _name(method: str, path: str, kind: str) -> str:
    return f"{method} {path} {kind}" if kind else f"{method} {path}"


def _template(scope: MutableMapping[str, Any]) -> str | None:
    """Return the framework's name for where *scope* was routed, if it left one there."""
    noted = scope.get(TEMPLATE)
    if noted is not None:
        return str(noted)
    route, endpoint = scope.get("route"), scope.get("endpoint")
    root_path = scope.get("root_path", "")
    if route is not None and hasattr(route, "app") and not hasattr(route, "endpoint"):
        if endpoint is route.app:
            # Only where another application is mounted: if it has routes, paths tell more.
            return None if getattr(route, "routes", None) else root_path
    elif isinstance(path := getattr(route, "path", None), str):
        # Where an application is mounted in another, its templates begin below that.
        return f"{root_path}{path}"
    while isinstance(endpoint, partial):
        endpoint = endpoint.func
    if endpoint is None:
        return None
    name = getattr(endpoint, "__qualname__", type(endpoint).__qualname__)
    return f"{getattr(endpoint, '__module__', '?')}.{name}"
