"""Where what was observed of an application is kept, and how its file is called.

The directory is ``--state-dir``, or ``tonnage`` in ``XDG_STATE_HOME``, or what systemd made for
``StateDirectory=``, or ``~/.local/state/tonnage``. A file's name is made of the target and of the
directory that it is imported from, so each application has its own. Nothing is made or opened here.
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIX: Final = ".json"
#: So many instances of one application are observed at a time, each in a file of its own.
MOST_INSTANCES: Final = 9
_LONGEST: Final = 64


def state_directory(chosen: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the directory; None where nobody has said one and there is no home either."""
    if chosen is not None:
        return chosen
    named = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(named):
        return Path(named) / "tonnage"
    # Several may be named, with colons between them; the first will do.
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if os.path.isabs(given):
        return Path(given)
    home = environ.get("HOME", "")
    return Path(home) / ".local" / "state" / "tonnage" if os.path.isabs(home) else None


def file_name(target: str, app_dir: Path) -> str:
    """Return how the file of the application *target* in *app_dir* is called, without suffix."""
    whole = f"{os.path.realpath(app_dir)}\n{target}"
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", target).lstrip(".")[:_LONGEST]
    return f"{safe}-{zlib.crc32(os.fsencode(whole)):08x}"


def instance_path(directory: Path, name: str, number: int) -> Path:
    """Return the file of instance *number*, from 1."""
    return directory / (f"{name}{SUFFIX}" if number == 1 else f"{name}-{number}{SUFFIX}")
