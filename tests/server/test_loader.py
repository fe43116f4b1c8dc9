"""From MODULE:ATTR to an application, and what is said where there is none."""

from __future__ import annotations

import functools
import itertools
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tonnage.config import load_settings
from tonnage.errors import TargetError
from tonnage.server.loader import Loaded, check_target, detect, load, load_or_tell
from tonnage.server.messages import Failed
from tonnage.settings import AppSettings

_serial = itertools.count()


@pytest.fixture(autouse=True)
def _imports_are_forgotten() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("target_"):
            del sys.modules[name]


def settings(directory: Path, target: str, **flags: str) -> AppSettings:
    """Return settings that name *target* in *directory*."""
    given = {"target": target, "app_dir": str(directory), **flags}
    return load_settings(given, {}, directory).app


def loaded(directory: Path, source: str, attribute: str = "app", **flags: str) -> Loaded:
    """Write a module of *source*, and load what *attribute* names in it."""
    name = f"target_{next(_serial)}"
    (directory / f"{name}.py").write_text(source)
    return load(settings(directory, f"{name}:{attribute}", **flags))


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Speak ASGI."""


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """Speak WSGI."""
    return []


class AsgiObject:
    """Speaks ASGI when called."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Do nothing."""


class PlainAsgiObject:
    """Speaks ASGI when called, through a function that is none of a coroutine."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """Do nothing."""


class WsgiObject:
    """Speaks WSGI when called."""

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        """Do nothing."""
        return []

    async def method(self, scope: Any, receive: Any, send: Any) -> None:
        """Speak ASGI."""


def wrapped(app: Any) -> Any:
    """Return *app* in a decorator that says what it wraps."""

    @functools.wraps(app)
    def call(*args: Any, **options: Any) -> Any:
        return app(*args, **options)

    return call


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (asgi, "asgi"),
        (wsgi, "wsgi"),
        (AsgiObject(), "asgi"),
        (PlainAsgiObject(), "asgi"),
        (WsgiObject(), "wsgi"),
        (WsgiObject().method, "asgi"),
        (functools.partial(asgi), "asgi"),
        (functools.partial(wsgi), "wsgi"),
        (functools.partial(AsgiObject()), "asgi"),
        (functools.partial(lambda extra, environ, start_response: [], 1), "wsgi"),
        (lambda scope, receive, send, extra=1: None, "asgi"),
        (wrapped(asgi), "asgi"),
        (wrapped(wsgi), "wsgi"),
    ],
)
def test_the_interface_is_seen_from_the_signature(app: Any, expected: str) -> None:
    """Two arguments are WSGI, three or a coroutine ASGI, also through partials and decorators."""
    assert detect(app, "main:app") == expected


def test_starlette_and_fastapi_are_asgi() -> None:
    """Instances of the frameworks' own classes."""
    fastapi = pytest.importorskip("fastapi")
    starlette = pytest.importorskip("starlette.applications")

    assert detect(fastapi.FastAPI(), "main:app") == "asgi"
    assert detect(starlette.Starlette(), "main:app") == "asgi"


def test_flask_is_wsgi() -> None:
    """An instance of the framework's own class."""
    flask = pytest.importorskip("flask")

    assert detect(flask.Flask("main"), "main:app") == "wsgi"


def test_django_has_a_handler_for_each() -> None:
    """As its asgi.py and wsgi.py make them, without their set-up."""
    asgi_module = pytest.importorskip("django.core.handlers.asgi")
    wsgi_module = pytest.importorskip("django.core.handlers.wsgi")

    made = [cls.__new__(cls) for cls in (asgi_module.ASGIHandler, wsgi_module.WSGIHandler)]

    assert [detect(app, "main:app") for app in made] == ["asgi", "wsgi"]


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (42, "main:app is no application: it is an int, and not callable"),
        (AsgiObject, "main:app is a class: name an instance of it, or use --factory"),
        (lambda: asgi, "main:app takes no arguments: if it makes the application, add --factory"),
        (lambda one: None, "looks neither like ASGI nor like WSGI: say --interface asgi or wsgi"),
    ],
)
def test_what_is_no_application_is_told(app: Any, words: str) -> None:
    """With what to do instead."""
    with pytest.raises(TargetError, match=words):
        detect(app, "main:app")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("main:app", ("main", "app", False)),
        ("pkg.web.main:site.app", ("pkg.web.main", "site.app", False)),
        ("main:make()", ("main", "make", True)),
    ],
)
def test_a_target_names_module_and_attribute(target: str, expected: tuple[str, str, bool]) -> None:
    """Either can be dotted, and parentheses call a factory."""
    assert check_target(target) == expected


@pytest.mark.parametrize(
    "target", [None, "", "main", "main:", ":app", "main.py:app:x", "src/main:app", "main:make(1)"]
)
def test_other_spellings_are_refused(target: str | None) -> None:
    """The message shows how it is written."""
    with pytest.raises(TargetError, match="write MODULE:ATTR, for example main:app"):
        check_target(target)


def test_an_application_is_loaded_from_its_directory(tmp_path: Path) -> None:
    """The directory comes first on the path, and only once."""
    found = loaded(tmp_path, "async def app(scope, receive, send): ...")
    loaded(tmp_path, "async def app(scope, receive, send): ...")

    assert found.interface == "asgi"
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("attribute", "flags"), [("make()", {}), ("make", {"factory": "true"})], ids=["()", "--factory"]
)
def test_a_factory_is_called(tmp_path: Path, attribute: str, flags: dict[str, str]) -> None:
    """However it is said that it is one."""
    source = "def make():\n    return lambda environ, start_response: []"

    assert loaded(tmp_path, source, attribute, **flags).interface == "wsgi"


def test_the_interface_can_be_said(tmp_path: Path) -> None:
    """For what cannot be seen from outside."""
    source = "app = lambda *anything: None"

    assert loaded(tmp_path, source, interface="wsgi").interface == "wsgi"


@pytest.mark.parametrize("target", ["target_none:app", "target_none.deeper:app"])
def test_a_missing_module_is_told(tmp_path: Path, target: str) -> None:
    """With where it was looked for, and the option that changes that."""
    with pytest.raises(TargetError, match=r"no module 'target_none' in .*use --app-dir"):
        load(settings(tmp_path, target))


def test_a_module_that_the_application_misses_is_its_own_error(tmp_path: Path) -> None:
    """It is not the target that was mistyped, and the traceback is wanted."""
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        loaded(tmp_path, "import no_such_library")


def test_a_missing_attribute_is_told_with_what_there_is(tmp_path: Path) -> None:
    """Its callables, since one of them is probably meant."""
    source = "def application(scope, receive, send): ...\ndef _hidden(): ...\nclass Thing: ..."

    with pytest.raises(TargetError, match=r"has no attribute 'app'; it has application$"):
        loaded(tmp_path, source)


def test_a_missing_attribute_of_an_empty_module_is_told(tmp_path: Path) -> None:
    """Without a list of nothing."""
    with pytest.raises(TargetError, match=r"has no attribute 'site\.app'$"):
        loaded(tmp_path, "site = 1", "site.app")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("make = 1", "a factory must be callable, this is an int"),
        ("def make(config): ...", "called without arguments, and this one needs some .*'config'"),
        ("def make(): return 1", "is no application: it is an int, and not callable"),
    ],
)
def test_a_factory_that_is_none_is_told(tmp_path: Path, source: str, words: str) -> None:
    """Before it is called, where that can be seen."""
    with pytest.raises(TargetError, match=words):
        loaded(tmp_path, source, "make()")


def test_what_a_factory_raises_is_its_own_error(tmp_path: Path) -> None:
    """A TypeError inside is not mistaken for one of the call."""
    with pytest.raises(TypeError, match="inside"):
        loaded(tmp_path, "def make(): raise TypeError('inside')", "make()")


def test_an_error_that_is_in_none_of_its_files_names_none(tmp_path: Path) -> None:
    """A library's alone, as where it looks for its plugins: its own line would mislead."""
    told: list[Failed] = []

    def fail() -> Loaded:
        raise LookupError("no plugin")

    assert load_or_tell(settings(tmp_path, "shop:app"), told.append, fail) is None

    assert told == [Failed("importing shop:app failed: LookupError: no plugin")]


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record*."""
        self.records.append(record)


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """Keep what is logged about an import."""
    handler, logger = Kept(), logging.getLogger("tonnage.loader")
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def loggers_go_on() -> Iterator[None]:
    """Turn on again, for the tests that follow, what an application has turned off."""
    yield
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


def test_an_application_that_sets_up_its_log_does_not_turn_ours_off(tmp_path: Path) -> None:
    """What its worker has to say of it is nothing that it could name."""
    ours, other = logging.getLogger("tonnage.requests"), logging.getLogger("other.library")
    name = f"target_{next(_serial)}"
    source = FAILING.replace("raise KeyError", "import os\nos.environ.get") + CALLABLE
    (tmp_path / f"{name}.py").write_text(source)
    given = settings(tmp_path, f"{name}:app")

    loaded = load_or_tell(given, lambda failed: None, functools.partial(load, given))
    assert loaded is not None
    assert (ours.disabled, other.disabled) == (False, True)


CALLABLE = "async def app(scope, receive, send): ..."
FAILING = """
import logging.config
logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
raise KeyError("DATABASE_URL")
"""


@pytest.mark.parametrize(
    ("source", "place", "error"),
    [
        (FAILING, "line 4, in <module>", "KeyError: 'DATABASE_URL'"),
        ("a b", "line 1", "SyntaxError"),
    ],
)
def test_the_traceback_of_an_import_begins_in_the_application(
    tmp_path: Path, logged: list[logging.LogRecord], source: str, place: str, error: str
) -> None:
    """One record, also if the import has turned other loggers off; none of our own lines."""
    told: list[Failed] = []
    name = f"target_{next(_serial)}"
    (tmp_path / f"{name}.py").write_text(source)
    given = settings(tmp_path, f"{name}:app")
    importing = functools.partial(load, given)
    assert load_or_tell(given, told.append, importing) is None
    (record,) = logged
    text = logging.Formatter().formatException(record.exc_info or (None, None, None))
    assert record.getMessage() == f"importing {name}:app failed"
    assert (place in text, error in text, "loader.py" in text) == (True, True, False), text
    (failed,) = told
    assert (failed.is_mistaken, error in failed.error) == (False, True)
