"""How a function is named, so that another process finds it: ``module:qualified.name``.

Promises: what :func:`name_of` names, :func:`find` finds in any process that can import the module.
A function that none could find by its name (a lambda, one within another, a method of one object,
one of the script itself) is refused with a line that says what to do.

Does not look at what a function is called with.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

from tonnage.errors import JobError

_MAIN: Final = "__main__"


def name_of(function: Any) -> str:
    """Return the name of *function*, which may be decorated with ``isolated``.

    Raises:
        TypeError: no other process could find it.
    """
    check_place(function)
    name = _written(function)
    if function.__module__ == _MAIN:
        raise TypeError(
            f"{name} is part of the script itself, which is not run again for a job: move it to a"
            " module and import it from there"
        )
    if undecorated(_look_up(function.__module__, function.__qualname__)) is not undecorated(
        function
    ):
        raise TypeError(
            f"{name} is not what is found under its name: have the module keep it by that name"
        )
    return name


def check_place(function: Any) -> None:
    """Check what is known of *function* while its module is still being imported.

    Raises:
        TypeError: it is no function of a module.
    """
    name = getattr(function, "__qualname__", None)
    if not callable(function) or not isinstance(name, str) or not _module(function):
        raise TypeError(
            f"{function!r:.200} has no name by which another process finds it: give a function of"
            " a module"
        )
    if "<" in name:
        raise TypeError(
            f"{_written(function)} is a lambda or a function within another, which no other process"
            " finds: write it at the level of a module"
        )


def find(name: str) -> Any:
    """Import the module that *name* begins with, and return the function, undecorated.

    Raises:
        JobError: the module does not have it.
        Exception: whatever importing the module raises.
    """
    module, _, qualified = name.partition(":")
    # Found where it is loaded already: the import would look for its own lock and parents.
    if module not in sys.modules:
        importlib.import_module(module)
    found = undecorated(_look_up(module, qualified))
    if found is None:
        raise JobError(f"there is no {qualified} in {module}: is another version of it running?")
    return found


def undecorated(function: Any) -> Any:
    """Return what ``isolated`` has decorated, or *function* itself."""
    return getattr(function, "__isolated__", function)


def _look_up(module: str, qualified: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return found


def _module(function: Any) -> str | None:
    found = getattr(function, "__module__", None)
    return found if isinstance(found, str) else None


def _written(function: Any) -> str:
    return f"{_module(function)}:{function.__qualname__}"
