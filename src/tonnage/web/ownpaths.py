"""Whether the application has a route of its own at a path, as its router has it written.

Looks at the routers of Starlette (and FastAPI), Flask and Django, through a few layers of
middleware. A route that would match any path does not count. What it does not know has no routes:
then the path is ours, and can be moved by an option.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

logger = logging.getLogger("tonnage.worker")

_MOST_LAYERS: Final = 16


def has_path(app: Any, path: str) -> bool:
    """Return whether *app* has a route at *path*. Never raises: it is the user's object."""
    try:
        found = _has_path(app, path)
    except Exception:  # whatever its attributes do
        logger.debug("the application's routes cannot be looked at", exc_info=True)
        return False
    if found:
        logger.info("%s is the application's own route: ours is below the live page", path)
    return found


def _has_path(app: Any, path: str) -> bool:
    for _ in range(_MOST_LAYERS):
        if app is None:
            return False
        if (rules := getattr(app, "url_map", None)) is not None:
            return any(rule.rule == path for rule in rules.iter_rules())
        if isinstance(routes := getattr(app, "routes", None), (list, tuple)):
            return any(_is_at(route, path, _MOST_LAYERS) for route in routes)
        if type(app).__module__.startswith("django."):
            return _in_django(path)
        # Middleware has what it wraps under one of these names.
        inside = (getattr(app, name, None) for name in ("app", "wsgi_app", "application"))
        app = next((each for each in inside if callable(each)), None)
    return False


def _is_at(route: Any, path: str, layers: int) -> bool:
    """Return whether *route* is at *path*, or mounted there, or has a route that is."""
    own = getattr(route, "path", None)
    if not isinstance(own, str):
        return False
    # A mount at the root is called "".
    if own == path:
        return True
    inner = getattr(route, "routes", None)
    if layers <= 0 or not isinstance(inner, (list, tuple)) or not path.startswith(own):
        return False
    return any(_is_at(each, path[len(own) :], layers - 1) for each in inner)


def _in_django(path: str) -> bool:
    urls = sys.modules.get("django.urls")
    if urls is None:
        return False
    try:
        match = urls.resolve(path)
    except urls.Resolver404:
        return False
    # As it is written, not by a pattern that takes anything.
    return bool("/" + match.route == path)
