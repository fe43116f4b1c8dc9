"""What to do next, by cause: the last lines of a report.

Two or three hints each, the one that helps most often first. Pure.
"""

from __future__ import annotations

from typing import Final

from tonnage.server.postmortem.cause import Cause
from tonnage.units import format_bytes

_ROUTE_PLACE: Final = "{route}"

_BY_RIGHT: Final = (
    "If {route} needs this much by right, give the server more memory, or fewer workers."
)

_HINTS: Final[dict[Cause, tuple[str, ...]]] = {
    Cause.OOM: (
        "Make {route} take less at once: read, query and answer in pages, or stream.",
        "Leave the fuse on (it is, without --no-fuse) and set --worker-memory, so that an "
        "allocation that does not fit fails in its own request and not in the worker.",
        "If the table shows memory that grows without this worker, something else in the "
        "container takes it: child processes, other programs, files in tmpfs.",
    ),
    Cause.BRAKE: (
        "Make {route} take less at once: read, query and answer in pages, or stream.",
        "Set --worker-memory: an allocation beyond it fails in its own request, which is answered, "
        "and the worker goes on.",
        _BY_RIGHT,
    ),
    Cause.CRASH: (
        "Native code crashed: an extension module, or a library that it calls. Start with "
        "PYTHONFAULTHANDLER=1 in the environment: then Python prints its stack at a crash.",
        "Repeat {route} alone against `tonnage run --workers 1`; if it crashes again, bring the "
        "native packages that it uses up to date.",
    ),
    Cause.FAILED_ALLOCATION: (
        "Native code did not handle that it got no memory. Make {route} take less at once, so "
        "that it does not come to that.",
        "Raise --worker-memory, or give the server more memory; --no-fuse leaves such "
        "allocations to the brake.",
        "Start with PYTHONFAULTHANDLER=1 in the environment: then Python prints its stack at a "
        "crash, which names the library.",
    ),
    Cause.EXIT: (
        "Something called sys.exit(), os._exit() or exec in the worker: look for it in {route} "
        "and in the libraries that it uses.",
        "The log shortly before this moment has what the application said.",
    ),
    Cause.SIGNAL: (
        "Somebody else sent this signal: a person, a supervisor of the platform, or the kernel of "
        "the machine around the container. The platform's own log says more.",
        "If it comes again at the same memory use, the platform's limit is lower than the one "
        "that was found: set --memory to it.",
    ),
    Cause.NOT_STARTED: (
        "The log before this moment has the application's own error.",
        "Start it in the foreground with `tonnage run --workers 1 --no-preload` to see its import "
        "alone.",
        "If it is only slow to import, raise --start-seconds.",
    ),
    Cause.DEADLINE: (
        "Raise --stop-seconds if {route} may take that long.",
        "Work that must not be cut belongs in a queue, not in a request.",
    ),
    Cause.MEMORY_ERROR: (
        "Make {route} take less at once: read, query and answer in pages, or stream.",
        "If it needs this much by right, give the server more memory, or a higher --worker-memory "
        "where that is set.",
        "If it came while the worker was full of other things, look for a leak: `tonnage leaks`.",
    ),
}


# After the end of a program that the application had started, whatever the cause.
_PROGRAM_HINTS: Final = (
    "Have the program need less: many have an option that bounds their memory. Start fewer of them "
    "at a time.",
    "Give it a limit of its own (`prlimit --data=SIZE`, or `ulimit -v` in a shell): then it fails "
    "by itself, and whoever has started it learns why.",
    "If it needs this much by right, give the server more memory.",
)


# After the end of an isolated job's process: it has a bound of its own already.
_JOB_HINTS: Final[dict[Cause, tuple[str, ...]]] = {
    Cause.OOM: (
        "Have the function take less at once. So much as memory= of that function says, or "
        "--job-memory, is kept free for it: say more there if it needs more.",
        "What a job writes to a memfd or to files in /dev/shm or another tmpfs counts for the "
        "limit of all, but for no process: have it write to a disk.",
        "If the table shows memory that grows without the job, something else in the container "
        "takes it.",
    ),
    Cause.CRASH: (
        "Native code crashed: an extension module, or a library that the function calls. Start "
        "with PYTHONFAULTHANDLER=1 in the environment: then Python prints its stack at a crash.",
        "Call the function alone with the same arguments; if it crashes again, bring the native "
        "packages that it uses up to date.",
        "If memory= of that function is scarce, give it more: some libraries crash where they get "
        "none.",
    ),
    Cause.SIGNAL: (
        "Somebody else sent this signal: a person, the function itself, or the kernel of the "
        "machine around the container. The platform's own log says more.",
        "If it comes again at the same memory use, the platform's limit is lower than the one "
        "that was found: set --memory to it.",
    ),
}


# Where the brake had to end a worker for the shared memory that it filled: no fuse bounds that.
_SHARED_HINTS: Final = (
    "Have {route} fill less shared memory (mmap, multiprocessing.shared_memory, files in /dev/shm "
    "or another tmpfs), in pieces that are let go of in between.",
    "Use private memory where it needs not be shared: that is bounded, so that an allocation that "
    "does not fit fails in its own request. Neither the fuse nor --worker-memory counts shared "
    "memory.",
    _BY_RIGHT,
)

# Where no fuse was set, --worker-memory has no effect.
_FUSELESS_HINTS: Final = (
    _HINTS[Cause.BRAKE][0],
    "Leave the fuse on (it is, without --no-fuse): an allocation that does not fit then fails in "
    "its own request, which is answered, and the worker goes on.",
    _BY_RIGHT,
)

_CROWD_PLACE: Final = "{crowd}"
_LEFT_PLACE: Final = "{left}"
# In place of the first, where a request failed since its worker had only a part of the memory.
_CROWDED_HINT: Final = (
    "{crowd} workers share the memory, and this one had {left} left: run fewer (--workers), and "
    "each can have more."
)


def advice(
    cause: Cause,
    route: str | None,
    *,
    of_program: bool = False,
    of_job: bool = False,
    in_shared: bool = False,
    is_fused: bool = True,
    crowd: int = 0,
    left_bytes: int = 0,
) -> list[str]:
    """Return what to do after *cause*.

    Args:
        cause: why it ended.
        route: the suspected ``GET /path``.
        of_program: it was a program that the application had started.
        of_job: that was the process of an isolated job.
        in_shared: it was shared memory that grew.
        is_fused: whether the worker had a fuse.
        crowd: how many workers share the memory, if that is why one had too little; else 0.
        left_bytes: what that one had left.
    """
    # Not str.format(): a route has braces of its own.
    name = route or "what was in flight"
    hints = _PROGRAM_HINTS if of_program else _HINTS[cause]
    if of_job:
        hints = _JOB_HINTS.get(cause, hints)
    if cause is Cause.BRAKE and not of_program:
        hints = _SHARED_HINTS if in_shared else hints if is_fused else _FUSELESS_HINTS
    if crowd:
        crowded = _CROWDED_HINT.replace(_CROWD_PLACE, str(crowd))
        hints = (crowded.replace(_LEFT_PLACE, format_bytes(left_bytes)), *hints[1:])
    return [hint.replace(_ROUTE_PLACE, name) for hint in hints]
