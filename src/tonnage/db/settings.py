"""What the options say of databases, for application code: in a worker, and elsewhere.

As :mod:`tonnage.stores.settings` has it: the server passes on what it was started with before it
imports the application (:func:`use`); elsewhere the environment says it, by the same names. How
many connections a worker may have is known only when there are workers (:func:`use_share`).
"""

from __future__ import annotations

import os
from pathlib import Path

from tonnage.budget.connections import USUAL_CONNECTIONS
from tonnage.config import DatabaseSettings, load_settings

_current: DatabaseSettings | None = None
_share: int | None = None


def use(settings: DatabaseSettings) -> None:
    """Have *settings* apply in this process, and in those that it forks."""
    global _current  # one for a process
    _current = settings


def use_share(connections: int) -> None:
    """Say how many connections this worker may have, in all its pools without a limit together."""
    global _share  # one for a process
    _share = connections


def current() -> DatabaseSettings:
    """Return what applies: what the server was told, else what the environment says now.

    Raises:
        ConfigError: a variable holds a value without sense.
    """
    if _current is not None:
        return _current
    return load_settings({}, os.environ, Path.cwd()).databases


def share() -> int:
    """Return how many connections this process may have; under another server a usual number."""
    return USUAL_CONNECTIONS if _share is None else _share
