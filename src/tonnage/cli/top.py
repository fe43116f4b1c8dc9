"""The command ``tonnage top``: where it shows.

What it does is in :mod:`tonnage.commands.terminal`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

    from tonnage.cli.control import Desk

JSON: Final = "print what a frame is made of as JSON, once"


def carry_out(arguments: argparse.Namespace, desk: Desk) -> int:
    """Show the server until somebody quits, or once where nobody watches; return exit status 0.

    Raises:
        ActionError: the server does not answer.
        UsageError: the terminal is not known here.
    """
    from tonnage.commands.terminal.command import show

    return show(desk.client, desk.out, os.environ, as_json=desk.as_json)
