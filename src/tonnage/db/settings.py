"""What the options say of databases, for application code: in a worker, and elsewhere.

As :mod:`tonnage.stores.settings` has it: the server passes on what it was started with before it
imports the application (:func:`use`); elsewhere the environment says it, by the same names. How
many connections a worker may have is known only when there are workers (:func:`use_share`).
"""

from __future__ import annotations

import os
from pathlib import Path

from tonnage.budget.connections import USUAL_CONNECTIONS
from tonnage.config import load_settings
from tonnage.settings import DatabaseSettings

_current: DatabaseSettings | None = None
_share: int | None = None
_workers = 1


def use(settings: DatabaseSettings) -> None:
    """Have *settings* apply in this process, and in those that it forks."""
    global _current  # one for a process
    _current = settings


def use_share(connections: int, workers: int = 1) -> None:
    """Say how many connections this worker may have, in all its pools without a limit together.

    *workers* is how many workers there are, for what they may have together.
    """
    global _share, _workers  # one for a process
    _share, _workers = connections, workers


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
    if _share is not None:
        return _share
    wished = current().database_connections
    if wished is None:
        return USUAL_CONNECTIONS
    # Nobody says how many workers there are: there is one, and the one that takes its place.
    return max(1, min(USUAL_CONNECTIONS, wished // 2))


def workers() -> int:
    """Return how many workers there are with pools like those of this process, as far as known."""
    return _workers
