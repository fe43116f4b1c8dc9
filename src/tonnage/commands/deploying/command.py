"""`tonnage init`: look at a project, and write what a platform needs to run it.

Promises: reads the project's own files and writes the platform's; the application is not imported,
and of the environment only the names of variables count, since it is not deployed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tonnage.commands.deploying import PLATFORMS
from tonnage.commands.deploying.installed import doubts
from tonnage.commands.deploying.project import STORES, look
from tonnage.commands.deploying.told import tell
from tonnage.commands.deploying.writing import write
from tonnage.config import load_settings
from tonnage.errors import TargetError, UsageError

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class InitArguments:
    """What is to be made, and where it goes.

    Attributes:
        platform: One of :data:`~tonnage.commands.deploying.PLATFORMS`.
        output: The directory for the files.
        prints: Whether they are printed and not written.
        force: Whether files that are in the way are overwritten.
        stores: Stores that are used beside those that are found.
        secrets: Variables that the application reads and nobody else may see, by their names.
    """

    platform: str
    output: Path
    prints: bool
    force: bool
    stores: tuple[str, ...]
    secrets: tuple[str, ...]


def init(
    wanted: InitArguments,
    flags: Mapping[str, object],
    variables: Collection[str],
    directory: Path,
    out: TextIO,
    err: TextIO,
) -> int:
    """Write or print the files for *wanted*, and return exit status 0.

    Args:
        wanted: The platform, and where the files go.
        flags: The options of the command line.
        variables: The names of the environment's variables; DATABASE_URL shows a database.
        directory: The project's.
        out: Where it is told what was done.
        err: Where it is told what is to be done before these files can be deployed.

    Raises:
        TargetError: no application is named.
        UsageError: options make no sense, do not fit, or a file is in the way.
    """
    settings = load_settings(flags, {}, directory, on_terminal=lambda: False)
    target = settings.app.target
    if target is None:
        raise TargetError(
            "no application is named: write for example"
            f" tonnage init {wanted.platform} main:app, or target in [tool.tonnage]"
        )
    named = [store for store, variable in STORES.items() if variable in variables]
    stores = (*named, *wanted.stores)
    for each in wanted.secrets:
        if not _VARIABLE.fullmatch(each):
            # Not repeated: it may be the secret itself.
            raise UsageError("--secret takes the name of a variable, such as SIGNING_KEY")
    project = look(directory, target)
    told = tell(wanted.platform, settings, flags, project, stores, wanted.secrets)
    files = PLATFORMS[wanted.platform](told)
    if wanted.prints:
        out.write("\n".join(f"===> {file.name} <===\n{file.text}" for file in files))
    else:
        for line in write(files, wanted.output, force=wanted.force):
            print(line, file=out)
    for doubt in doubts(told):
        print(f"tonnage: warning: {doubt}", file=err)
    return 0
