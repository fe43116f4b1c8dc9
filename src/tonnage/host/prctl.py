"""What a process asks of the kernel for itself: a name, huge pages, orphans, its parent's end.

Each function does nothing where prctl does not exist, and leaves things as they are where the
kernel refuses: the server works without any of them.
"""

from __future__ import annotations

import ctypes
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_THP_DISABLE = 41


def name_process(name: str) -> None:
    """Have ``ps -o comm`` and ``top`` call this process *name*, of which 15 bytes count.

    The arguments that ``ps`` shows otherwise stay those of the command that started the server. To
    be called in the main thread: a thread's name is its own, and threads started later inherit it.
    """
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()))


def use_huge_pages(enabled: bool) -> None:
    """Allow or forbid transparent huge pages for this process and those it forks from now on.

    The supervisor and the zygote do without them: a heap of 2 MB pages is larger when idle and is
    shared worse after a fork. A worker allows them again for the blocks that requests allocate.
    """
    _prctl(_PR_SET_THP_DISABLE, 0 if enabled else 1)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends (a "subreaper")."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(signal_number: int) -> None:
    """Have the kernel send *signal_number* to this process when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def _prctl(option: int, value: int | ctypes.c_char_p) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
