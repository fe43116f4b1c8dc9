"""The command ``tonnage init``: files that deploy the application to a platform.

Its options are those of ``tonnage run``, and some of its own. What the files say is decided in
:mod:`tonnage.commands.deploying`, which is imported when it runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.cli.flags import add_flags

if TYPE_CHECKING:
    import argparse

_PLATFORMS: Final = (
    *("render", "railway", "fly", "heroku"),
    *("docker", "compose", "systemd", "kubernetes"),
)
_STORES: Final = ("postgres", "redis", "mongo")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only ``tonnage init`` has, and the options of ``tonnage run``."""
    parser.usage = "tonnage init PLATFORM [TARGET] [OPTIONS]"
    # The options' own note would not be true: the environment is not deployed.
    parser.epilog = (
        "Options given here go into the command that starts the server; those in [tool.tonnage] of"
        " pyproject.toml are deployed with it. The environment's values are not taken over."
    )
    parser.add_argument(
        "platform", metavar="PLATFORM", choices=_PLATFORMS, help=f"one of {', '.join(_PLATFORMS)}"
    )
    own = parser.add_argument_group("Files")
    own.add_argument(
        "--output", metavar="DIR", type=Path, help="where they go (default: the current directory)"
    )
    own.add_argument("--print", action="store_true", help="print them, and write nothing")
    own.add_argument("--force", action="store_true", help="overwrite files that are there")
    own.add_argument(
        "--with",
        dest="stores_used",
        metavar="STORE",
        action="append",
        choices=_STORES,
        help=f"a store that the application uses, beside those its dependencies show:"
        f" {', '.join(_STORES)}; may be given again",
    )
    own.add_argument(
        "--secret",
        dest="secrets_used",
        metavar="VARIABLE",
        action="append",
        help="a secret that the application reads from the environment, by its name, such as"
        " SIGNING_KEY; may be given again",
    )
    add_flags(parser)


def carry_out(arguments: argparse.Namespace) -> int:
    """Write the files that *arguments* ask for; return the exit status.

    Raises:
        UsageError: no application is named, options make no sense, or a file is in the way.
    """
    from tonnage.commands.deploying.command import InitArguments, init

    wanted = InitArguments(
        platform=arguments.platform,
        output=arguments.output or Path(),
        prints=arguments.print,
        force=arguments.force,
        stores=tuple(arguments.stores_used or ()),
        secrets=tuple(arguments.secrets_used or ()),
    )
    return init(wanted, vars(arguments), os.environ, Path.cwd(), sys.stdout, sys.stderr)
