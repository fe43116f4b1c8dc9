"""The command line: parse, load the settings, hand over.

`main` promises one line and exit status 2 for whatever a user got wrong, and no traceback for it.
What the commands do is elsewhere: :mod:`tonnage.server` runs, :mod:`tonnage.budget` plans,
:mod:`tonnage.cli.control` asks a running server, :mod:`tonnage.cli.database` a database,
:mod:`tonnage.cli.models` keeps the models of images, :mod:`tonnage.cli.check` checks,
:mod:`tonnage.cli.init` writes the files of a deployment, :mod:`tonnage.cli.otel` sends metrics.
Each is imported, and its options are made, only for the command that needs it: all start quickly,
and a server does not carry the others.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tonnage import __version__
from tonnage.config import load_settings
from tonnage.errors import TargetError, TonnageError, UsageError
from tonnage.options import GROUPS, OPTIONS, Option
from tonnage.settings import Settings

OPTIONS_NOTE = (
    "Each option can also be set as TONNAGE_<NAME> in the environment or in an env file, or as a "
    "key of [tool.tonnage] in pyproject.toml. A flag wins over the environment, the environment "
    "over the env file, and that over pyproject.toml."
)

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
        command = words[0] if words and not words[0].startswith("-") else None
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
        from tonnage.ops.sizing.command import show_observed

        return show_observed(settings, arguments.margin, arguments.json, sys.stdout)
    if arguments.margin is not None:
        raise UsageError("--margin goes with --observed")
    from tonnage.budget.command import show_plan

    return show_plan(settings, arguments.json, sys.stdout)


def _complain(error: TonnageError, status: int) -> int:
    print(f"tonnage: error: {error}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def __init__(self, **settings: Any) -> None:
        # A shortened flag would change its meaning when an option is added.
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}: see {self.prog} --help")


def _parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser for a line that begins with *command*; None: for any line."""
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
    run = _add_command(commands, "run", "run TARGET, an ASGI or WSGI application")
    plan = _add_command(commands, "plan", "show who gets what of the memory limit, and why")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.add_argument(
        "--observed",
        action="store_true",
        help="instead, show which limit would do by what was observed of TARGET while it ran",
    )
    plan.add_argument(
        "--margin", metavar="SHARE", help="with --observed: so much above the peak (default: 10%%)"
    )
    for name, added in (("run", run), ("plan", plan)):
        if command in (name, None):
            _add_options(added)
    if command in ("check", None):
        from tonnage.cli import check

        checked = _add_command(commands, "check", check.SUMMARY)
        checked.usage = check.USAGE
        check.add_options(checked)
        _add_options(checked)
    if command in ("jobs", None):
        from tonnage.cli import jobs

        _add_options(_add_command(commands, "jobs", jobs.SUMMARY), jobs.concerns)
    if command in ("init", None):
        from tonnage.cli import init

        added = _add_command(commands, "init", init.SUMMARY)
        init.add_arguments(added)
        _add_options(added)
    if command in ("db", None):
        from tonnage.cli import database

        database.add_commands(commands)
    if command in ("models", None):
        from tonnage.cli import models

        models.add_commands(commands)
    if command in ("otel", None):
        from tonnage.cli import otel

        otel.add_commands(commands)
    if command not in (*_OWN_COMMANDS, "init", "db", "models", "otel"):
        from tonnage.cli.control import COMMANDS, add_commands

        if command is not None and command not in COMMANDS:
            # Misspelt: the complaint is to name all there are.
            return _parser()
        add_commands(commands)
    return parser


def _add_command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        usage=f"tonnage {name} [TARGET] [OPTIONS]",
        epilog=OPTIONS_NOTE,
    )
    return parser


def _add_options(
    parser: argparse.ArgumentParser, concerns: Callable[[Option], bool] = lambda option: True
) -> None:
    wanted = [option for option in OPTIONS if concerns(option)]
    groups = {
        group: parser.add_argument_group(title, _secrets(group))
        for group, title in GROUPS.items()
        if any(option.group == group for option in wanted)
    }
    for option in wanted:
        if not option.is_secret:
            _add_option(groups[option.group], option)


def _add_option(group: argparse._ArgumentGroup, option: Option) -> None:
    # No type and no default here: the settings parse text from every place alike.
    text = _help(option).replace("%", "%%")
    if option.is_target:
        group.add_argument(option.name, nargs="?", metavar=option.kind.metavar, help=text)
    elif option.is_switch:
        group.add_argument(
            option.flag,
            dest=option.name,
            help=text,
            default=None,
            action=argparse.BooleanOptionalAction,
        )
    else:
        group.add_argument(
            option.flag,
            dest=option.name,
            metavar=option.kind.metavar,
            help=text,
            action="append" if option.each else "store",
        )


def _secrets(group: str) -> str | None:
    """Return what help says of the options of *group* that are no flags; None: there are none."""
    told = [
        f"{option.env[0]}, a variable only since it is a secret: {_help(option)}"
        for option in OPTIONS
        if option.group == group and option.is_secret
    ]
    return "; ".join(told).replace("%", "%%") or None


def _help(option: Option) -> str:
    default = option.default_note or option.default
    notes = [f"default: {default}"] if default else []
    notes += [f"also {name}" for name in option.conventional]
    return f"{option.help} ({'; '.join(notes)})" if notes else option.help
