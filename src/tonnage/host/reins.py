"""What one process can do to hold another: a limit on its data, a mark, stopping it, ending it.

Each function returns False, and changes nothing, when the process is gone or is not ours to hold:
whoever holds processes must live with their ending at any moment.

The limit is ``RLIMIT_DATA``: the kernel refuses a mapping or ``brk`` that would take private
writable memory (``VmData``) above it, and the allocation fails in the code that asked for it, as a
``MemoryError`` in Python. It counts address space, touched or not, thread stacks too, and since
Linux 4.7 also what is mapped. Only the soft limit is set, so that the process itself can raise it
for a moment, to answer for the failure.

Sources: setrlimit(2), prlimit(2), signal(7).
"""

from __future__ import annotations

import os
import resource
import signal
from typing import Final

UNLIMITED: Final = resource.RLIM_INFINITY

# No limit of core files that somebody has set is as large.
_MARKED: Final = 1 << 50


def limit_data(pid: int, limit_bytes: int) -> bool:
    """Set the soft limit of the data of process *pid* (0: this one); at most its hard limit."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        if hard != UNLIMITED and (limit_bytes == UNLIMITED or limit_bytes > hard):
            limit_bytes = hard
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit_bytes, hard))
    except (ProcessLookupError, PermissionError, ValueError):
        return False
    return True


def mark(number: int) -> bool:
    """Mark this process and all that it starts, for good, and have none of them leave a core file.

    The mark is the hard limit of core files: inherited by whatever is forked and whatever is run,
    and readable from outside. Returns False where that limit is lower already.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, _MARKED + number))
    except (ValueError, OSError):
        return False
    return True


def mark_of(pid: int) -> int | None:
    """Return the mark of process *pid*; None: it has none, is gone, or is not ours."""
    try:
        hard = resource.prlimit(pid, resource.RLIMIT_CORE)[1]
    except (ProcessLookupError, PermissionError):
        return None
    return hard - _MARKED if hard != UNLIMITED and hard >= _MARKED else None


def stop(pid: int) -> bool:
    """Stop process *pid*: it does not run, hence does not allocate, until it is resumed."""
    return _signal(pid, signal.SIGSTOP)


def resume(pid: int) -> bool:
    """Let a stopped process go on."""
    return _signal(pid, signal.SIGCONT)


def end(pid: int) -> bool:
    """End process *pid* at once, stopped or not."""
    return _signal(pid, signal.SIGKILL)


def has_ended(pid: int) -> bool:
    """Whether process *pid* is gone, or a zombie: either way its memory has come free."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # What follows the command, which stands in parentheses and may hold any byte.
            return file.read().rpartition(b") ")[2][:1] in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
