"""What the options say of the log, for application code, in a worker or under another server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tonnage.config import Applied

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


def log_settings(settings: Settings) -> LogSettings:
    """Return what of *settings* an application's log starts from."""
    # The server has a default of its own, which is none for applications.
    is_given = settings.sources["log_level"] != "default"
    level = settings.logging.log_level if is_given else None
    return LogSettings(settings.logging.environment, level)


_log = Applied(log_settings)

use = _log.use
current = _log.current
