"""The command ``tonnage run``: serve the application in TARGET."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.cli.flags import add_flags, settings_from
from tonnage.errors import TargetError

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give *parser* all options."""
    add_flags(parser)


def carry_out(arguments: argparse.Namespace) -> int:
    """Serve until told to stop, and return the exit status.

    Raises:
        TonnageError: the server cannot be started; says why.
    """
    settings = settings_from(arguments)
    if settings.app.target is None:
        raise TargetError("no application is named: write for example tonnage run main:app")
    from tonnage.server import run

    return run(settings)
