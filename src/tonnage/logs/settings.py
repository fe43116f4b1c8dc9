"""What the options say of the log, for application code: in a worker, and under any other server.

As :mod:`tonnage.stores.settings`: the server passes on what it was started with, flags and files
included; elsewhere the environment says it, by the same names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tonnage.config import load_settings

if TYPE_CHECKING:
    from tonnage.settings import Settings


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What an application's log starts from.

    Attributes:
        environment: what the server is run for.
        level: the least level that is logged, where somebody has said so; else None.
    """

    environment: Literal["production", "development"]
    level: str | None


_current: LogSettings | None = None


def use(settings: Settings) -> None:
    """Have *settings* apply in this process, and in those that it forks."""
    global _current  # one for a process
    _current = _of(settings)


def current() -> LogSettings:
    """Return what applies: what the server was told, else what the environment says now.

    Raises:
        ConfigError: a variable holds a value without sense.
    """
    return _current or _of(load_settings({}, os.environ, Path.cwd()))


def _of(settings: Settings) -> LogSettings:
    # The server has a default of its own, which is none for applications.
    is_given = settings.sources["log_level"] != "default"
    level = settings.logging.log_level if is_given else None
    return LogSettings(settings.logging.environment, level)
