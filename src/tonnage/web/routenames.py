"""What Flask and Django call the route of a request, for the names of routes in figures.

Starlette and FastAPI leave their own word in the request's scope; these two do not, so theirs is
put there, at :data:`~tonnage.web.routes.TEMPLATE`: ``/posts/<slug>``, ``/posts/<slug:slug>/``.

Looks at what the framework has found and never routes itself: what it costs is a look into a dict.
A framework that is not imported is not imported for this, nor is one touched that has changed.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from tonnage.web.routes import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def flask_template(environ: MutableMapping[str, Any]) -> str | None:
    """Return the rule that Flask has found for the request of *environ*; None: none, or no Flask.

    Werkzeug's request is in the environment of WSGI since it was made.
    """
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    return f"{environ.get('SCRIPT_NAME', '')}{rule}" if isinstance(rule, str) else None


def note_django_routes() -> None:
    """Have Django note the route of each request, where the application is one of Django's.

    In the scope of ASGI, or the environment of WSGI. To be called once, after the import.
    """
    handlers = sys.modules.get("django.core.handlers.base")
    resolve = getattr(getattr(handlers, "BaseHandler", None), "resolve_request", None)
    if handlers is None or resolve is None:
        return

    @functools.wraps(resolve)
    def resolve_request(handler: Any, request: Any) -> Any:
        match = resolve(handler, request)
        noted = getattr(request, "scope", None) or request.environ
        noted[TEMPLATE] = f"{request.META.get('SCRIPT_NAME', '')}/{match.route}"
        return match

    handlers.BaseHandler.resolve_request = resolve_request
