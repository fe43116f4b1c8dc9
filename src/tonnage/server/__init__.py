"""Processes: supervisor, zygote, workers; from `tonnage run` to the last drained request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tonnage.settings import Settings

__all__ = ["run"]


def run(settings: Settings) -> int:
    """Serve the application that *settings* name until told to stop; return the exit status.

    Raises:
        TonnageError: the server cannot start; the message is one line that says what to do.
    """
    from tonnage.server.environment import prepare_environment

    prepare_environment(settings)
    from tonnage.server.start import start

    return start(settings)
