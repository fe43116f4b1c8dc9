"""What an interpreter that is begun for jobs can import: what its caller can.

    Popen(..., env=with_import_path(os.environ, sys.path))       # whoever begins it
    restore_python_path()                                        # the interpreter, first of all

The path goes by PYTHONPATH, which would reach the programs that a job starts too, and is not meant
for them: they get what was there before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME: Final = "PYTHONPATH"
# Where it is kept as it was.
_BEFORE: Final = "TONNAGE_PYTHONPATH_BEFORE"


def with_import_path(environ: Mapping[str, str], path: Iterable[str]) -> dict[str, str]:
    """Return *environ* for an interpreter that imports from *path*, and from where it says."""
    before = environ.get(_NAME, "")
    found = os.pathsep.join(part for part in (*path, before) if part)
    return {**environ, _NAME: found, _BEFORE: before}


def restore_python_path() -> None:
    """Let programs that this process starts have the path that its caller was started with."""
    before = os.environ.pop(_BEFORE, None)
    if before:
        os.environ[_NAME] = before
    elif before is not None:
        os.environ.pop(_NAME, None)
