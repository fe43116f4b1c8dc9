"""What an imported application says of itself: debug modes, CORS, routes that take files.

Looks at FastAPI, Starlette, Flask and Django as far as they are loaded, and imports none of them.
What it cannot see counts as nothing: another framework, a setting that is read while a request is
served, an application behind more than :data:`MOST_LAYERS` layers. Runs in the child process that
has imported it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Applications that wrap one another are followed so far.
MOST_LAYERS: Final = 16
#: Routes with files that are named.
MOST_ROUTES: Final = 50

_MULTIPART: Final = "multipart/form-data"


def debugging(app: Any) -> list[str]:
    """Return the frameworks whose debug mode is on."""
    found = []
    for module, name in (("starlette.applications", "Starlette"), ("flask", "Flask")):
        kind = getattr(sys.modules.get(module), name, None)
        found += [
            type(layer).__name__
            for layer in _layers(app)
            if kind is not None and isinstance(layer, kind) and layer.debug
        ]
    if getattr(_django(), "DEBUG", False):
        found.append("Django")
    return found


def open_cors(app: Any) -> str | None:
    """Return what answers pages of every site and takes cookies from them; None: nothing does."""
    for layer in _layers(app):
        for middleware in getattr(layer, "user_middleware", ()):
            told: dict[str, Any] = getattr(middleware, "kwargs", {})
            if "CORS" in _name_of(middleware) and _is_open(told):
                return _name_of(middleware)
    django = _django()
    everyone = ("CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL")
    if getattr(django, "CORS_ALLOW_CREDENTIALS", False) and any(
        getattr(django, name, False) for name in everyone
    ):
        return "django-cors-headers"
    return None


def file_routes(app: Any) -> list[str]:
    """Return the routes of FastAPI that take files, as in ``POST /photos``."""
    found = []
    for layer in _layers(app):
        for route in getattr(layer, "routes", ()):
            body = getattr(getattr(route, "body_field", None), "field_info", None)
            if getattr(body, "media_type", None) == _MULTIPART:
                found += [f"{method} {route.path}" for method in sorted(route.methods)]
    return found[:MOST_ROUTES]


def has_own_limits(app: Any) -> bool:
    """Return whether the application has put Tonnage's middleware in front of itself."""
    middleware = list(getattr(_django(), "MIDDLEWARE", ()))
    for layer in _layers(app):
        middleware.append(type(layer).__module__)
        middleware += [
            getattr(getattr(each, "cls", None), "__module__", "")
            for each in getattr(layer, "user_middleware", ())
        ]
    return any(str(each).startswith("tonnage.") for each in middleware)


def _layers(app: Any) -> Iterator[Any]:
    """Yield *app* and the applications that it wraps, by the names that are usual for them."""
    for _ in range(MOST_LAYERS):
        yield app
        inner = (vars(app) if hasattr(app, "__dict__") else {}).get
        app = inner("app") or inner("_app") or inner("wsgi_app") or inner("application")
        if app is None:
            return


def _is_open(told: dict[str, Any]) -> bool:
    takes_all = "*" in told.get("allow_origins", ()) or told.get("allow_origin_regex") in (
        ".*",
        ".+",
    )
    return takes_all and bool(told.get("allow_credentials"))


def _name_of(middleware: Any) -> str:
    return str(getattr(getattr(middleware, "cls", None), "__name__", ""))


def _django() -> Any:
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    return settings if getattr(settings, "configured", False) else None
