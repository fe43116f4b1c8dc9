"""The command ``tonnage logs``: what it is told, and where it prints.

What it does is in :mod:`tonnage.commands.lines.command`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tonnage.cli.control import Desk

JSON: Final = (
    "print each line as one JSON object: as it was written where that was one, else its time, "
    "process, level and message"
)
_USUAL_LINES: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command can be told."""
    from tonnage.logs.texts import LEVELS
    from tonnage.ops.lines import MOST_LINES

    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on, and show lines as they come"
    )
    parser.add_argument(
        "-n",
        "--lines",
        type=_lines,
        metavar="N",
        default=_USUAL_LINES,
        help=f"how many, {MOST_LINES} at most (default: {_USUAL_LINES})",
    )
    parser.add_argument(
        "--level",
        type=str.lower,
        choices=[level.lower() for level in LEVELS],
        help="the least level (default: all that is logged)",
    )
    parser.add_argument(
        "--grep",
        metavar="REGEX",
        help="only lines that match this regular expression, of all that are still kept",
    )
    parser.add_argument(
        "--worker",
        type=_process,
        metavar="N",
        help="only lines of this worker, or of supervisor or zygote",
    )


def carry_out(arguments: argparse.Namespace, desk: Desk) -> int:
    """Show the lines that *arguments* ask for, and return exit status 0.

    Raises:
        ActionError: the server does not answer.
        UsageError: the arguments make no sense.
    """
    from tonnage.commands.lines.command import Paper, Wish, pattern_of, show_lines

    wish = Wish(
        lines=arguments.lines,
        follow=arguments.follow,
        level=arguments.level,
        worker=arguments.worker,
        pattern=pattern_of(arguments.grep),
    )
    is_colored = desk.out.isatty() and not os.environ.get("NO_COLOR")
    paper = Paper(desk.out, sys.stderr, desk.as_json, is_colored)
    return show_lines(wish, desk.client.get, paper, time.sleep)


def _process(text: str) -> str:
    from tonnage.ops.lines import OTHERS

    if text in OTHERS or (text.isascii() and text.isdecimal() and len(text) < 6):
        return text
    raise argparse.ArgumentTypeError(f"write a worker's number, or {' or '.join(OTHERS)}")


def _lines(text: str) -> int:
    from tonnage.ops.lines import MOST_LINES

    if not (text.isascii() and text.isdecimal() and int(text) <= MOST_LINES):
        raise argparse.ArgumentTypeError(f"write a whole number from 0 to {MOST_LINES}")
    return int(text)
