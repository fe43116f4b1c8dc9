"""What the options say of stores, for application code: in a worker, and under any other server.

The server passes on what it was started with, flags and files included, before it imports the
application (:func:`use`). Elsewhere the environment says it, by the same names.
"""

from __future__ import annotations

import os
from pathlib import Path

from tonnage.config import load_settings
from tonnage.settings import StoreSettings

_current: StoreSettings | None = None


def use(settings: StoreSettings) -> None:
    """Have *settings* apply in this process, and in those that it forks."""
    global _current  # one for a process
    _current = settings


def current() -> StoreSettings:
    """Return what applies: what the server was told, else what the environment says now.

    Raises:
        ConfigError: a variable holds a value without sense.
    """
    if _current is not None:
        return _current
    return load_settings({}, os.environ, Path.cwd()).stores
