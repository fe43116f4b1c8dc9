"""The command line: parse, load the settings, hand over.

`main` promises one line and exit status 2 for whatever a user got wrong, and no traceback for it.
Each command is a module of this room (:mod:`tonnage.cli.table` names it), imported, and its options
made, only for the line that needs it: all start quickly, help and the version more so, and a server
does not carry the others. What the commands do is elsewhere: :mod:`tonnage.server` runs,
:mod:`tonnage.budget` plans, :mod:`tonnage.commands` has the rest.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys

from tonnage import __version__
from tonnage.cli.table import COMMANDS
from tonnage.errors import TonnageError, UsageError

# As type checkers know it; that of ``typing`` would cost help a tenth of its time.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any, NoReturn

_FLAG, _NEGATIVE = re.compile(r"--[^=]+"), re.compile(r"-[\d.]")


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
        arguments = _parser(command).parse_args(_joined(words))
        return int(_module(arguments.command).carry_out(arguments))
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


def _module(command: str) -> ModuleType:
    """Import the module of *command*, which has ``add_arguments`` and ``carry_out``."""
    return importlib.import_module(f"tonnage.cli.{COMMANDS[command][0]}")


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

    def parse_known_args(  # type: ignore[override]  # what it gives is never anything else
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what is not known here, and not in the parser above: that has fewer options."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            meant = self._nearest_flag(unknown[0])
            told = f"unrecognized arguments: {' '.join(unknown)}"
            if meant is None:
                self.error(told)
            raise UsageError(f"{told}: did you mean --{meant}?")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of the choices, such as a command that does not exist."""
        if action.choices is not None and value not in action.choices:
            from tonnage.spelling import nearest  # Only here: help has no mistake to explain.

            meant = nearest(str(value), map(str, action.choices))
            if meant is not None:
                told = f"invalid choice: {value!r}: did you mean {meant}?"
                raise UsageError(str(argparse.ArgumentError(action, told)))
        super()._check_value(action, value)

    def _nearest_flag(self, word: str) -> str | None:
        name = word.partition("=")[0].removeprefix("--")
        if name == word:
            return None
        from tonnage.spelling import nearest  # As above.

        return nearest(name, [flag.removeprefix("--") for flag in self._option_string_actions])

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
    for name, (_, summary) in COMMANDS.items():
        description = summary[0].upper() + summary[1:] + "."
        added = commands.add_parser(name, help=summary, description=description)
        if name == command:
            _module(name).add_arguments(added)
    return parser
