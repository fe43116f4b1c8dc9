"""The command line: parse, load the settings, hand over.

`main` promises one line and exit status 2 for whatever a user got wrong, and no traceback for it.
What the commands do is elsewhere: :mod:`tonnage.server` runs, :mod:`tonnage.budget` plans,
:mod:`tonnage.cli.control` asks a running server, :mod:`tonnage.cli.database` a database,
:mod:`tonnage.cli.models` keeps the models of images, :mod:`tonnage.cli.check` checks,
:mod:`tonnage.cli.init` writes the files of a deployment, :mod:`tonnage.cli.otel` sends metrics.
Each is imported, and its options are made, only for the command that needs it: all start quickly,
help and the version more so, and a server does not carry the others.
"""

from __future__ import annotations

import argparse
import os
import re
import sys

from tonnage import __version__
from tonnage.cli.summaries import SUMMARIES
from tonnage.errors import TargetError, TonnageError, UsageError

# As type checkers know it; that of ``typing`` would cost help a tenth of its time.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from tonnage.settings import Settings

_FLAG, _NEGATIVE = re.compile(r"--[^=]+"), re.compile(r"-[\d.]")
_OWN_COMMANDS = ("run", "plan", "check", "jobs")


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command in *argv* (by default the process's own) and return its exit status.

    2 is a mistake of the user's, 1 a server that could not be kept up, that refuses or that cannot
    be reached, 130 an interruption.

    Raises:
        SystemExit: with 0 after ``--help`` and ``--version``.
    """
    try:
        words = sys.argv[1:] if argv is None else argv
        command = next((word for word in words if not word.startswith("-")), "")
        return _carry_out(_parser(command).parse_args(_joined(words)))
    except UsageError as error:
        return _complain(error, 2)
    except TonnageError as error:
        return _complain(error, 1)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is to be flushed at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        # 128 + SIGINT, as shells count.
        return 130


def _joined(words: Sequence[str]) -> list[str]:
    """Return *words*, a value such as -3s in one with its flag: it would be taken for another."""
    joined: list[str] = []
    for word in words:
        if joined and _FLAG.fullmatch(joined[-1]) and _NEGATIVE.match(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _carry_out(arguments: argparse.Namespace) -> int:
    if arguments.command == "db":
        from tonnage.cli import database

        return database.carry_out(arguments)
    if arguments.command == "models":
        from tonnage.cli import models

        return models.carry_out(arguments)
    if arguments.command == "otel":
        from tonnage.cli import otel

        return otel.carry_out(arguments)
    if arguments.command == "init":
        from tonnage.cli import init

        return init.carry_out(vars(arguments), os.environ)
    if arguments.command not in _OWN_COMMANDS:
        from tonnage.cli.control import carry_out

        return carry_out(arguments, os.environ)
    from pathlib import Path

    from tonnage.config import load_settings

    settings = load_settings(vars(arguments), os.environ, Path.cwd())
    if arguments.command == "plan":
        return _plan(settings, arguments)
    if arguments.command == "check":
        from tonnage.cli import check

        return check.carry_out(settings, arguments)
    if arguments.command == "jobs":
        from tonnage.cli import jobs

        return jobs.carry_out(settings, vars(arguments))
    return _run(settings)


def _run(settings: Settings) -> int:
    if settings.app.target is None:
        raise TargetError("no application is named: write for example tonnage run main:app")
    from tonnage.server import run

    return run(settings)


def _plan(settings: Settings, arguments: argparse.Namespace) -> int:
    for warning in settings.warnings:
        print(f"tonnage: warning: {warning}", file=sys.stderr)
    if arguments.observed:
        from tonnage.commands.sizing import show_observed

        return show_observed(settings, arguments.margin, arguments.json, sys.stdout)
    if arguments.margin is not None:
        raise UsageError("--margin goes with --observed")
    from tonnage.cli.plan import show_plan

    return show_plan(settings, arguments.json, sys.stdout)


def _complain(error: TonnageError, status: int) -> int:
    print(f"tonnage: error: {error}", file=sys.stderr)
    return status


class _Formatter(argparse.HelpFormatter):
    """argparse's; one is made for each argument, and without a width it imports shutil."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, **{"width": _columns() - 2, **settings})


def _columns() -> int:
    """Return how wide help may be, as `shutil.get_terminal_size` finds it."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def __init__(self, **settings: Any) -> None:
        # A shortened flag would change its meaning when an option is added.
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}: see {self.prog} --help")


def _parser(command: str) -> argparse.ArgumentParser:
    """Return the parser for a line with *command*; of the others it knows no more than the name."""
    parser = _Parser(
        prog="tonnage",
        usage="tonnage COMMAND [TARGET] [OPTIONS]",
        description="Run a Python web backend inside its memory limit.",
        epilog="tonnage COMMAND --help shows the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"tonnage {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True, prog="tonnage"
    )
    for name, summary in SUMMARIES.items():
        description = summary[0].upper() + summary[1:] + "."
        added = commands.add_parser(name, help=summary, description=description)
        if name == command:
            _add_arguments(added, name)
    return parser


def _add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    if command == "db":
        from tonnage.cli import database

        return database.add_arguments(parser)
    if command == "models":
        from tonnage.cli import models

        return models.add_arguments(parser)
    if command == "otel":
        from tonnage.cli import otel

        return otel.add_arguments(parser)
    if command not in (*_OWN_COMMANDS, "init"):
        from tonnage.cli import control

        return control.add_arguments(parser, command)
    from tonnage.cli.flags import add_flags

    parser.usage = f"tonnage {command} [TARGET] [OPTIONS]"
    if command == "jobs":
        from tonnage.cli import jobs

        return add_flags(parser, jobs.concerns)
    if command == "init":
        from tonnage.cli import init

        init.add_arguments(parser)
    elif command == "check":
        from tonnage.cli import check

        check.add_arguments(parser)
    elif command == "plan":
        _add_plan_arguments(parser)
    return add_flags(parser)


def _add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument(
        "--observed",
        action="store_true",
        help="instead, show which limit would do by what was observed of TARGET while it ran",
    )
    parser.add_argument(
        "--margin", metavar="SHARE", help="with --observed: so much above the peak (default: 10%%)"
    )
