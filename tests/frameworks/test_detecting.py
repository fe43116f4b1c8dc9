"""What frameworks and people name as an application, told apart without being told."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from tonnage.config import load_settings
from tonnage.errors import TargetError
from tonnage.server.loader import detect, load


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Speak ASGI."""


async def configured(config: Any, scope: Any, receive: Any, send: Any) -> None:
    """Speak ASGI, once the first argument is bound."""


def wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Speak WSGI."""
    return []


def lenient(environ: Any, start_response: Any = None) -> Iterable[bytes]:
    """Speak WSGI, with a default that no server needs."""
    return []


def returning(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
    """Speak ASGI without being async."""
    return asgi(scope, receive, send)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap as decorators do."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def bare(*args: Any) -> Any:
    """Take anything, as a decorator without ``functools.wraps`` does."""


async def make() -> Any:
    """Make an application, asynchronously."""
    return asgi


@pytest.mark.parametrize(
    ("app", "interface"),
    [
        (FastAPI(), "asgi"),
        (Starlette(), "asgi"),
        (GZipMiddleware(Starlette()), "asgi"),
        (Flask("app"), "wsgi"),
        (Flask("app").wsgi_app, "wsgi"),
        (ProxyFix(Flask("app")), "wsgi"),
        (returning, "asgi"),
        (functools.partial(configured, None), "asgi"),
        (functools.partial(wsgi), "wsgi"),
        (decorated(asgi), "asgi"),
        (decorated(wsgi), "wsgi"),
        (lenient, "wsgi"),
    ],
    # The same in each process of tests, so no addresses.
    ids=lambda given: given if isinstance(given, str) else type(given).__name__,
)
def test_an_application_is_known_by_its_looks(app: Any, interface: str) -> None:
    """Objects, functions, partials, and what decorators make of them."""
    assert detect(app, "main:app") == interface


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (make, "takes no arguments: if it makes the application, add --factory"),
        (lambda name="x": asgi, "can be called without arguments: if it makes"),
        (bare, "neither like ASGI nor like WSGI: say --interface"),
        (functools.partial(configured, config=1), "takes no arguments"),
    ],
)
def test_what_cannot_be_told_apart_is_asked_for(app: Any, words: str) -> None:
    """A factory is not taken for an application, nor the other way round."""
    with pytest.raises(TargetError, match=words):
        detect(app, "main:app")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"target": "taken.py:app"}, "'taken.py' is the name of a file: write the module's"),
        ({"target": "taken:make()"}, "must be a plain function, this one is async"),
        ({"target": "taken:number", "interface": "wsgi"}, "is no application: it is an int"),
    ],
)
def test_a_slip_of_the_pen_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: dict[str, str], words: str
) -> None:
    """With what to write instead, where that is known."""
    (tmp_path / "taken.py").write_text("async def make(): ...\nnumber = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(TargetError, match=words):
        load(load_settings({**flags, "app_dir": str(tmp_path)}, {}, tmp_path).app)


def test_the_directory_stays_importable_wherever_the_application_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that changes the working directory can import its own modules later."""
    (tmp_path / "wanders.py").write_text(
        "import os\nos.chdir('/')\nimport wanders_on\napp = wanders_on.app\n"
    )
    (tmp_path / "wanders_on.py").write_text("def app(environ, start_response): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("nowhere")

    loaded = load(load_settings({"target": "wanders:app"}, {}, tmp_path).app)

    assert loaded.interface == "wsgi"
