"""What the options say of jobs, for application code: in a worker, and under any other server.

As :mod:`tonnage.stores.settings` has it: the server passes on what it was started with before it
imports the application (:func:`use`); elsewhere the environment says it, by the same names.
"""

from __future__ import annotations

import os
from pathlib import Path

from tonnage.config import load_settings
from tonnage.settings import JobSettings

_current: JobSettings | None = None


def use(settings: JobSettings) -> None:
    """Have *settings* apply in this process, and in those that it forks."""
    global _current  # one for a process
    _current = settings


def current() -> JobSettings:
    """Return what applies: what the server was told, else what the environment says now.

    Raises:
        ConfigError: a variable holds a value without sense.
    """
    if _current is not None:
        return _current
    return load_settings({}, os.environ, Path.cwd()).jobs
