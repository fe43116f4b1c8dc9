"""From ``MODULE:ATTR`` to an application, with errors that say what to do.

Runs in the zygote (or in a worker started the plain way), never in the supervisor.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
from dataclasses import dataclass
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Literal

from tonnage.errors import ConfigError, TargetError
from tonnage.ops.logging import speak_again
from tonnage.server.messages import Failed
from tonnage.web.path.fromsettings import load_shape, with_path
from tonnage.web.routenames import note_django_routes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tonnage.settings import AppSettings, Settings

logger = logging.getLogger("tonnage.loader")

Interface = Literal["asgi", "wsgi"]

# Characters of an error that go through the channel, which has an end; the traceback has it whole.
_LONGEST_MESSAGE = 1000

# Where the way to the application's first line leads through.
_WAY = tuple(
    os.path.join(directory, "")
    for directory in (
        os.path.dirname(os.path.dirname(__file__)),
        os.path.dirname(importlib.__file__),
    )
)

_PLACES = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An application and the interface it speaks."""

    app: Any
    interface: Interface


def check_target(target: str | None) -> tuple[str, str, bool]:
    """Return module, attribute path and whether a factory is called, as *target* spells them.

    Raises:
        TargetError: it is not of the form MODULE:ATTR or MODULE:factory().
    """
    module, colon, attribute = (target or "").partition(":")
    calls = attribute.endswith("()")
    attribute = attribute.removesuffix("()")
    parts = [*module.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise TargetError(
            f"{target!r} does not name an application: write MODULE:ATTR, for example main:app, "
            "or MODULE:factory()"
        )
    return module, attribute, calls


def load(settings: AppSettings) -> Loaded:
    """Import the application that *settings* name.

    Raises:
        TargetError: module or attribute is missing, the factory fails, or it is no application.
        Exception: whatever the application's own code raises while it is imported.
    """
    module_name, attribute, calls = check_target(settings.target)
    # Absolute, since the application may change the working directory before it imports more.
    directory = os.path.abspath(settings.app_dir)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    app = _resolve(_import(module_name, directory), attribute)
    if calls or settings.factory:
        app = _build(app, settings.target)
    if settings.interface == "auto":
        return Loaded(app, detect(app, settings.target))
    _check_callable(app, settings.target)
    return Loaded(app, settings.interface)


def load_all(settings: Settings) -> Loaded:
    """Import the application, and what the options put in front of it.

    A mistake in these is found here, and not by each worker anew; and workers share what they need.

    Raises:
        TargetError: the application, or the function that shapes refusals, is not there or is not
            what it has to be; or another option makes no sense.
        Exception: whatever their own code raises while it is imported.
    """
    loaded = load(settings.app)
    try:
        shape = load_shape(settings.path)
        with_path(loaded.app, settings.path, may_compress=lambda: True, shape=shape)
    except ConfigError as error:
        raise TargetError(str(error)) from error
    note_django_routes()
    return loaded


def load_or_tell(
    settings: AppSettings, tell: Callable[[Failed], object], load: Callable[[], Loaded]
) -> Loaded | None:
    """Return what *load* returns; where it fails, *tell* the supervisor why and return None.

    A mistake in the target's name is one line. For an error of the application's own code, its
    traceback is logged as well: it is what the author needs.
    """
    try:
        loaded = load()
    except TargetError as error:
        tell(Failed(str(error), is_mistaken=True))
    except BaseException as error:  # the application may raise anything
        speak_again()
        trace = (type(error), error, _own_part(error))
        logger.error("importing %s failed", settings.target, exc_info=trace)
        what = f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]
        where = _place(error, os.path.abspath(settings.app_dir))
        tell(Failed(f"importing {settings.target} failed: {what}{where}"))
    else:
        speak_again()
        return loaded
    return None


def _own_part(error: BaseException) -> TracebackType | None:
    """Return the traceback of *error* without the way to the application: ours, and the import's.

    Of a mistake in the first file's syntax nothing is left: the error names file and line itself.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((*_WAY, "<frozen ")):
        trace = trace.tb_next
    return trace if trace is not None or isinstance(error, SyntaxError) else error.__traceback__


def _place(error: BaseException, directory: str) -> str:
    """Return the last line of the application's own, where *error* does not say it itself.

    Its files are those below *directory*, but for installed packages.
    """
    if isinstance(error, SyntaxError):
        return ""
    for frame in reversed(extract_tb(error.__traceback__)):
        is_below = frame.filename.startswith(os.path.join(directory, ""))
        if is_below and "site-packages" not in frame.filename:
            return f" ({os.path.relpath(frame.filename, directory)}, line {frame.lineno})"
    return ""


def _import(name: str, directory: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only if it is the named module that is missing; one that it imports is the app's error.
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            if name.endswith(".py"):
                raise TargetError(
                    f"{name!r} is the name of a file: write the module's, "
                    f"{name.removesuffix('.py')!r}"
                ) from error
            raise TargetError(
                f"no module {error.name!r} in {directory!r} or on the Python path: check the name, "
                "or use --app-dir"
            ) from error
        raise


def _resolve(module: Any, attribute: str) -> Any:
    found = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            names = sorted(
                name
                for name, value in vars(module).items()
                if callable(value) and not name.startswith("_") and not inspect.isclass(value)
            )[:5]
            hint = f"; it has {', '.join(names)}" if names else ""
            raise TargetError(
                f"module {module.__name__!r} has no attribute {attribute!r}{hint}"
            ) from error
    return found


def _build(factory: Any, target: str | None) -> Any:
    if not callable(factory):
        raise TargetError(f"{target}: a factory must be callable, this is {_kind(factory)}")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise TargetError(
            f"{target}: a factory is called without arguments, and this one needs some ({error})"
        ) from error
    if inspect.iscoroutinefunction(factory):
        raise TargetError(f"{target}: a factory must be a plain function, this one is async")
    return factory()


def detect(app: Any, target: str | None) -> Interface:
    """Return the interface that *app* speaks.

    Raises:
        TargetError: it is not callable, or looks like a factory or a bare class.
    """
    _check_callable(app, target)
    if inspect.isclass(app):
        raise TargetError(f"{target} is a class: name an instance of it, or use --factory")
    try:
        parameters = list(inspect.signature(app).parameters.values())
    except ValueError as error:
        raise _undecided(target) from error
    if not any(_takes_positional(each) for each in parameters):
        raise TargetError(
            f"{target} takes no arguments: if it makes the application, add --factory"
        )
    call = app if inspect.isroutine(app) else type(app).__call__
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call):
        return "asgi"
    return _by_arguments(parameters, target)


def _by_arguments(parameters: list[inspect.Parameter], target: str | None) -> Interface:
    """Tell by how many arguments are taken: ASGI has three, WSGI two."""
    places = [each for each in parameters if each.kind in _PLACES]
    required = [each for each in places if each.default is each.empty]
    # One that must be given and others that may be: it is called with all of them.
    count = len(places) if len(required) == 1 else len(required)
    if count == 2:
        return "wsgi"
    if count == 3:
        return "asgi"
    if places and not required:
        raise TargetError(
            f"{target} can be called without arguments: if it makes the application, add --factory"
        )
    raise _undecided(target)


def _undecided(target: str | None) -> TargetError:
    return TargetError(
        f"{target} looks neither like ASGI nor like WSGI: say --interface asgi or wsgi"
    )


def _check_callable(app: Any, target: str | None) -> None:
    if not callable(app):
        raise TargetError(f"{target} is no application: it is {_kind(app)}, and not callable")


def _takes_positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (*_PLACES, parameter.VAR_POSITIONAL)


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
