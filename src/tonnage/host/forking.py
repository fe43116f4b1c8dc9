"""Children of this process that run one function, and end with it."""

from __future__ import annotations

import atexit
import os
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from tonnage.host.descriptors import close_all_but

if TYPE_CHECKING:
    from collections.abc import Callable


def fork_into(main: Callable[[], int], kept: frozenset[int]) -> int:
    """Fork; the child runs *main* and ends with its status. Return the child's pid.

    The child has the descriptors *kept* and no others. It never returns into the caller's frames,
    whose ``finally`` blocks are not its own.
    """
    _flush()
    pid = os.fork()
    if not pid:
        close_all_but(kept)
        end_with(main)
    return pid


def end_with(main: Callable[[], int]) -> NoReturn:
    """Run *main*, and end this process with its status: no frame of its parent's goes on here."""
    status = 1
    try:
        status = main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the edge of the process: recorded, and the status says it
        traceback.print_exc()
    finally:
        # The application's own atexit functions and buffers, which os._exit would skip.
        try:
            atexit._run_exitfuncs()
            _flush()
        finally:
            os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # There may be none, it may be closed, and nobody may read it any more.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
