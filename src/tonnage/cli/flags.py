"""The flags of ``tonnage run``, out of the option table, and the settings that they lead to.

Other commands have them too, or some of them.

Imported for a command that has them: ``tonnage --help`` goes without the table.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tonnage.options import GROUPS, OPTIONS, Option

if TYPE_CHECKING:
    from tonnage.settings import Settings

_NOTE = (
    "Each option can also be set as TONNAGE_<NAME> in the environment or in an env file, or as a "
    "key of [tool.tonnage] in pyproject.toml. A flag wins over the environment, the environment "
    "over the env file, and that over pyproject.toml."
)


def add_flags(
    parser: argparse.ArgumentParser, concerns: Callable[[Option], bool] = lambda option: True
) -> None:
    """Add the flags of those options that the command *concerns*."""
    parser.usage = parser.usage or f"{parser.prog} [TARGET] [OPTIONS]"
    parser.epilog = parser.epilog or _NOTE
    wanted = [option for option in OPTIONS if concerns(option)]
    groups = {
        group: parser.add_argument_group(title, _secrets(group))
        for group, title in GROUPS.items()
        if any(option.group == group for option in wanted)
    }
    for option in wanted:
        if not option.is_secret:
            _add_flag(groups[option.group], option)


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Return the settings by *arguments*, the environment and the files.

    Raises:
        ConfigError: a value makes no sense.
    """
    from tonnage.config import load_settings

    return load_settings(vars(arguments), os.environ, Path.cwd())


def _add_flag(group: argparse._ArgumentGroup, option: Option) -> None:
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
