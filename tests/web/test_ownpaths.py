"""Whether an application has a route at a path, as its own router has it written."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route

from tonnage.web.ownpaths import has_path


async def answer(request: Any = None) -> None:
    """Never called."""


def starlette(*routes: Any) -> Starlette:
    """Return an application with *routes*."""
    return Starlette(routes=routes)


def fastapi() -> FastAPI:
    """Return an application with a route of its own for metrics."""
    app = FastAPI()
    app.get("/metrics")(answer)
    return app


def flask() -> Flask:
    """Return the same of Flask."""
    app = Flask("own")
    app.add_url_rule("/metrics", view_func=lambda: "")
    return app


class Wrapped:
    """Middleware as people write it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self) -> None:
        """Never called."""


class Hostile:
    """An object one of whose attributes fails."""

    @property
    def routes(self) -> Any:
        """Fail."""
        raise RuntimeError


@pytest.mark.parametrize(
    "app",
    [
        starlette(Route("/metrics", answer)),
        starlette(Mount("/metrics", routes=[])),
        starlette(Mount("/", routes=[Route("/metrics", answer)])),
        starlette(Mount("/met", routes=[Route("/x", answer)]), Route("/metrics", answer)),
        GZipMiddleware(starlette(Route("/metrics", answer))),
        Wrapped(Wrapped(flask())),
        fastapi(),
        flask(),
    ],
)
def test_a_route_of_its_own_is_found(app: Any) -> None:
    """In a router, a mount, behind middleware."""
    assert has_path(app, "/metrics")
    assert not has_path(app, "/api/metrics")


@pytest.mark.parametrize(
    "app",
    [
        starlette(Route("/{path:path}", answer), Route("/metrics/{name}", answer)),
        starlette(Mount("/", routes=[])),
        Flask("none"),
        answer,
        None,
        Hostile(),
    ],
)
def test_a_route_for_anything_does_not_count(app: Any) -> None:
    """Nor does an application whose routes nobody knows."""
    assert not has_path(app, "/metrics")


def test_an_application_that_wraps_itself_comes_to_an_end() -> None:
    """Whatever people write."""
    app = Wrapped(None)
    app.app = app

    assert not has_path(app, "/metrics")


def test_djangos_routes_are_found() -> None:
    """In a process of its own: Django is set up once."""
    story = (
        "import django; from django.conf import settings; from django.urls import path, re_path\n"
        "class Urls: urlpatterns = [path('metrics', print), re_path('^any.*', print)]\n"
        "settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=['*']); django.setup()\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "from tonnage.web.ownpaths import has_path\n"
        "app = get_wsgi_application()\n"
        "print([has_path(app, path) for path in ('/metrics', '/anything', '/none')])"
    )
    done = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[True, False, False]"
