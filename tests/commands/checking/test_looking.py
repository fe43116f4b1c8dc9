"""What applications say of themselves, also those that are wrapped."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Form, UploadFile
from fastapi.middleware.cors import CORSMiddleware
from flask import Flask
from starlette.applications import Starlette

from tonnage.commands.checking import looking
from tonnage.web.path.middleware import Tonnage
from tonnage.web.path.wsgi import TonnageWSGI


class Wrapping:
    """A middleware as many are: the application is an attribute."""

    def __init__(self, app: Any) -> None:
        self.app = app


def flask(**settings: Any) -> Flask:
    """Return an application with *settings*."""
    app = Flask("shop")
    app.config.update(settings)
    return app


@pytest.mark.parametrize(
    ("app", "found"),
    [
        (FastAPI(debug=True), ["FastAPI"]),
        (Starlette(debug=True), ["Starlette"]),
        (Wrapping(Wrapping(Starlette(debug=True))), ["Starlette"]),
        (flask(DEBUG=True), ["Flask"]),
        (FastAPI(), []),
        (flask(), []),
        (lambda environ, start: [], []),
    ],
)
def test_debug_modes_are_seen(app: Any, found: list[str]) -> None:
    """Through what is in front of the application, too."""
    assert looking.debugging(app) == found


@pytest.mark.parametrize(
    ("told", "is_open"),
    [
        ({"allow_origins": ["*"], "allow_credentials": True}, True),
        ({"allow_origin_regex": ".*", "allow_credentials": True}, True),
        ({"allow_origins": ["*"]}, False),
        ({"allow_origins": ["https://shop.example"], "allow_credentials": True}, False),
    ],
)
def test_cors_for_everyone_is_seen(told: dict[str, Any], is_open: bool) -> None:
    """Only where it is with cookies."""
    app = FastAPI()
    app.add_middleware(CORSMiddleware, **told)
    assert (looking.open_cors(app) is not None) is is_open


def test_routes_with_files_are_seen() -> None:
    """And those with a form are not."""
    app = FastAPI()

    @app.post("/photos/{id}")
    async def one(id: int, photo: UploadFile, title: str = Form()) -> None: ...

    @app.post("/films")
    async def several(films: list[UploadFile]) -> None: ...

    @app.post("/login")
    async def login(name: str = Form()) -> None: ...

    assert looking.file_routes(app) == ["POST /photos/{id}", "POST /films"]


def test_limits_in_the_code_are_seen() -> None:
    """As a middleware that was added, or around the application."""
    added, served = FastAPI(), flask()
    added.add_middleware(Tonnage, max_body="1M")
    served.wsgi_app = TonnageWSGI(served.wsgi_app)  # type: ignore[method-assign]

    assert all(looking.has_own_limits(each) for each in (added, Tonnage(FastAPI()), served))
    assert not looking.has_own_limits(FastAPI())


def test_a_circle_of_wrappers_has_an_end() -> None:
    """Whatever an application consists of, looking at it ends."""
    circle = Wrapping(None)
    circle.app = circle
    assert looking.debugging(circle) == []
