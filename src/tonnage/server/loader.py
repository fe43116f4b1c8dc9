"""From ``MODULE:ATTR`` to an application, with errors that say what to do.

Runs in the zygote (or in a worker started the plain way), never in the supervisor.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tonnage.errors import TargetError

if TYPE_CHECKING:
    from tonnage.config import AppSettings

Interface = Literal["asgi", "wsgi"]


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
    directory = os.fspath(settings.app_dir)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    app = _resolve(_import(module_name, directory), attribute)
    if calls or settings.factory:
        app = _build(app, settings.target)
    interface: Interface = (
        detect(app, settings.target) if settings.interface == "auto" else settings.interface
    )
    return Loaded(app, interface)


def _import(name: str, directory: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only if it is the named module that is missing; one that it imports is the app's error.
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
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
    return factory()


def detect(app: Any, target: str | None) -> Interface:
    """Return the interface that *app* speaks.

    Raises:
        TargetError: it is not callable, or looks like a factory or a bare class.
    """
    if not callable(app):
        raise TargetError(f"{target} is no application: it is {_kind(app)}, and not callable")
    if inspect.isclass(app):
        raise TargetError(f"{target} is a class: name an instance of it, or use --factory")
    call = app if inspect.isroutine(app) else type(app).__call__
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call):
        return "asgi"
    try:
        required = [
            parameter
            for parameter in inspect.signature(app).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
    except ValueError:
        required = []
    if len(required) == 2:
        return "wsgi"
    if len(required) == 3:
        return "asgi"
    if not required:
        raise TargetError(
            f"{target} takes no arguments: if it makes the application, add --factory"
        )
    raise TargetError(
        f"{target} looks neither like ASGI nor like WSGI: say --interface asgi or wsgi"
    )


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
