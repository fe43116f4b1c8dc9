"""The command ``tonnage run``: serve the application in TARGET."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.cli.flags import add_flags, settings_from
from tonnage.errors import TargetError

if TYPE_CHECKING:
    import argparse

_FIRST: Final = (
    "None of the options is needed: the memory limit is found, and how many workers fit into it. "
    "Those to know first are --memory and --workers, to say it yourself; --host and --port; "
    "--reload, while you develop; and against clients that take too much --max-body, --timeout and "
    "--rate-limit."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give *parser* all options, and say which of them to know first."""
    parser.description = f"{parser.description} {_FIRST}"
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
