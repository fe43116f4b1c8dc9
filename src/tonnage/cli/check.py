"""The command ``tonnage check``: an application before it is deployed, or a server afterwards.

It has the options of ``tonnage run``, since it is the settings that are checked, and some of its
own. What it does is in :mod:`tonnage.commands.checking`, which is imported when it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tonnage.cli.flags import add_flags, settings_from
from tonnage.errors import ConfigError
from tonnage.units import parse_bytes

if TYPE_CHECKING:
    import argparse


def carry_out(arguments: argparse.Namespace) -> int:
    """Check the target and return the exit status.

    Raises:
        UsageError: it cannot be checked.
    """
    from tonnage.commands.checking.command import CheckArguments, show_check

    wanted = CheckArguments(
        as_json=arguments.json,
        instances=_number("--instances", arguments.instances),
        migrations=None if arguments.migrations is None else Path(arguments.migrations),
        path=arguments.path,
        probe_body_bytes=parse_bytes(arguments.probe_body),
        probe_rate=(
            None if arguments.probe_rate is None else _number("--probe-rate", arguments.probe_rate)
        ),
    )
    return show_check(settings_from(arguments), wanted, sys.stdout)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that this command has, and those of ``tonnage run``."""
    parser.usage = "tonnage check TARGET|URL [OPTIONS]"
    own = parser.add_argument_group("checking")
    own.add_argument("--json", action="store_true", help="print the findings as JSON")
    own.add_argument(
        "--instances", metavar="N", default="1", help="servers that there are to be (default: 1)"
    )
    own.add_argument(
        "--migrations", metavar="DIRECTORY", help="where the application's migrations are"
    )
    own.add_argument(
        "--path", default="/", help="URL: a page of 1 KB or more, for compression (default: /)"
    )
    own.add_argument(
        "--probe-body",
        metavar="SIZE",
        default="16M",
        help="URL: a body of this size is to be refused; it is announced, not sent (default: 16M)",
    )
    own.add_argument(
        "--probe-rate",
        metavar="N",
        help="URL: spend up to N requests, 10000 at most, on finding the rate limit"
        " (default: none)",
    )
    add_flags(parser)


def _number(flag: str, text: str) -> int:
    if text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 10_000:
        return int(text)
    raise ConfigError(f"{flag} {text!r} makes no sense: write a whole number from 1 to 10000")
