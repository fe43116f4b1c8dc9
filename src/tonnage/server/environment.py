"""The allocator's variables in our environment: glibc reads them at the start only, so start again.

Imported, and done, before anything else of this room: what is imported until then is so twice.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tonnage.host.malloc import allocator_environment

if TYPE_CHECKING:
    from tonnage.settings import Settings

# Names of the variables that we have set before exec, so that they can be taken away again.
_PREPARED = "TONNAGE_PREPARED"
# Variables that a library reads when it is imported, and that therefore stay.
_STAYING = "_THREADS"


def prepare_environment(settings: Settings) -> None:
    """Set the allocator's variables, which glibc reads at the start only, by starting once more.

    Returns in the process that has them. They are then removed from the environment, so that
    programs which the application starts are not affected.
    """
    prepared = os.environ.pop(_PREPARED, None)
    if prepared is not None:
        for name in prepared.split(","):
            if not name.endswith(_STAYING):
                os.environ.pop(name, None)
        return
    added = allocator_environment(settings.memory.allocator, os.environ)
    if added:
        environ = {**os.environ, **added, _PREPARED: ",".join(added)}
        try:
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)
        except OSError as error:
            print(f"tonnage: the allocator keeps its defaults: {error}", file=sys.stderr)
