"""What a MemoryError says, how to let go of what it holds, and which answer it deserves.

Covers finding it behind the errors that were made of it, naming the line, freeing the frames it
holds, and the choice between 503 and 413. Does not answer, log or decide what becomes of the worker
(:mod:`tonnage.web.guard`).

An error's traceback holds the frames it came through, and these hold what the request had
allocated: until they are cleared, nothing comes free. A burst to 496 MB was back at 43 MB within
50 ms once they were.
"""

from __future__ import annotations

import gc
import mmap
import os
import resource
from dataclasses import dataclass
from opcode import opmap, opname
from typing import TYPE_CHECKING, Final

from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType, TracebackType

    from tonnage.host.processes import StatmSample

    # A code object, the line in it, and the instruction.
    _Place = tuple[CodeType, int, int]

#: A body of at least this share of what the worker had left is itself the reason. Whoever reads it
#: whole holds it two to four times: as the server received it, in one piece, decoded, parsed.
BODY_SHARE: Final = 1 / 4
#: A smaller body never is: the worker had next to nothing left, and another time it would pass.
LEAST_BODY_BYTES: Final = MIB

# Room that the handling can use where the error's frames give none back: two arenas of CPython's
# small-object allocator. It is address space, which RLIMIT_DATA counts, and is never touched.
RESERVE_BYTES: Final = 2 * MIB
#: What the limit of data is lifted by for the time of the handling: less than the slack that each
#: fuse leaves, and what is free at the floor.
LIFT_BYTES: Final = 4 * MIB
MOST_LIFTED_BYTES: Final = 3 * LIFT_BYTES
#: Where clearing its frames gives back less, garbage is collected at once.
COLLECT_BELOW_BYTES: Final = 8 * MIB

#: Where so much is free when an error arrives, its own frames have been freed on the way; or it
#: was one allocation larger than that. More than the reserve and one lift.
FREED_BYTES: Final = 8 * MIB

#: Where there was no memory to note any frame.
UNKNOWN_LINE: Final = "an unknown line"

# Errors looked at behind one another, and frames of one traceback: a deep recursion has 1000.
_MAX_ERRORS: Final = 32
_MAX_FRAMES: Final = 2000

# Where an error keeps what was found out about it.
_FOUND: Final = "_tonnage_found"
_CACHE: Final = opmap["CACHE"]
_ALLOCATES: Final = ("BINARY_OP", "BUILD_", "LIST_", "DICT_", "MAP_", "SET_", "RAISE_")
_YIELD: Final = opmap["YIELD_VALUE"]
_RUNS_IN_STEPS: Final = 0x20 | 0x80 | 0x200  # generator, coroutine, asynchronous generator
_PACKAGES: Final = ("/site-packages/", "/dist-packages/")
_STANDARD_LIBRARY: Final = os.path.dirname(os.__file__) + "/"
_OURS: Final = os.path.dirname(os.path.dirname(__file__)) + "/"

# Made once: a union of types would be made anew, by an allocation, for each look.
_HOLDERS: Final = (MemoryError, BaseExceptionGroup)


@dataclass(frozen=True, slots=True)
class MemoryFailure:
    """A request that ran out of memory, and what became of it. Sizes in bytes."""

    #: "GET /users/{}"
    route: str
    #: "shop/views.py:12 in burst", with the application's own line where that is in a library.
    line: str
    #: What the worker grew by from shortly before the request began, whoever caused it.
    grown_bytes: int
    #: The request's body, as announced or as received, whichever is more.
    body_bytes: int
    #: What the worker had left when the request began.
    left_bytes: int
    #: 503 or 413; 0: none of ours, since the response had begun.
    status: int
    #: Whether what the request held was free again before that could be measured; then it had
    #: needed more than *left_bytes*.
    was_freed: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether the client got no answer that says so."""
        return self.status == 0


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about a MemoryError before its frames were freed."""

    #: Where it was raised; begins with "or below" where frames further in could not be noted.
    line: str
    private_bytes: int
    #: Whether what it held was free already.
    was_freed: bool
    #: How far the process's data could still have grown; None: nothing limits it.
    free_bytes: int | None


def status_for(body_bytes: int, left_bytes: int) -> int:
    """Return 413 where the request's own size is the reason, else 503."""
    too_large = body_bytes >= max(LEAST_BODY_BYTES, left_bytes * BODY_SHARE)
    return 413 if too_large else 503


def may_hold_memory_error(error: BaseException | None) -> bool:
    """Return quickly whether there is anything to look at: most errors come alone.

    Allocates nothing: this is asked before the reserve is released.
    """
    return isinstance(error, _HOLDERS) or (
        error is not None and (error.__context__ or error.__cause__) is not None
    )


def memory_error_in(error: BaseException | None) -> MemoryError | None:
    """Return the MemoryError that *error* is, holds (in a group) or was made of, if any."""
    return next((each for each in _chain(error) if isinstance(each, MemoryError)), None)


def examine(error: MemoryError, read: Callable[[], StatmSample]) -> Finding:
    """Return what there is to know of *error*, and free what its frames hold.

    Works in any thread. *read* gives what the process holds. What was found out first counts: an
    error that a thread has let go of is met again in the event loop.
    """
    found: Finding | None = vars(error).get(_FOUND)
    if found is not None:
        clear_frames(error)
        return found
    try:
        sample = read()
    except MemoryError:
        # Another thread was quicker than we with the reserve.
        clear_frames(error)
        sample = read()
    clear_frames(error)
    in_turn = any(isinstance(each, MemoryError) and each is not error for each in _chain(error))
    if in_turn and sample.private_bytes - read().private_bytes < COLLECT_BELOW_BYTES:
        # One after the other, with no memory to note each frame or to chain them: what the first
        # held is not found from here. It is garbage, as a rule in a cycle through a task. A single
        # error may be that of somebody else's request, and a collection takes everybody's time.
        gc.collect()
    # Only now, since it needs memory: where the frames stood is still known.
    free_bytes = _free_bytes(sample.data_bytes)
    was_freed = free_bytes is not None and free_bytes >= FREED_BYTES and _may_lack_frames(error)
    line = line_of(error)
    if was_freed and line != UNKNOWN_LINE:
        line = f"or below {line}"
    finding = Finding(line, sample.private_bytes, was_freed, free_bytes)
    vars(error)[_FOUND] = finding
    return finding


def line_of(error: BaseException) -> str:
    """Return where *error* was raised: ``file:line in function``.

    Where that is in a library, the line of the application's own code that led there is added.

    Of a MemoryError made while another was on its way, the first one counts, unless it knows no
    line of the application's: where there is no memory to note a frame, CPython raises a new one in
    its place, so that the last has the outermost frames alone.
    """
    known, own = _noted(error)
    if not known:
        return UNKNOWN_LINE
    names = known[-1:] + [place for place in own[-1:] if place != known[-1]]
    return ", called at ".join(
        f"{_short(code.co_filename)}:{number} in {code.co_name}" for code, number, _ in names
    )


def clear_frames(error: BaseException) -> None:
    """Free the local variables of all frames that *error*, and those it was made of, came through.

    Frames that still run keep theirs. So do coroutines and generators that wait (as one does that
    has caught the error and hands it to a thread): CPython before 3.13 would end them.
    """
    for each in _chain(error):
        for tb in _tracebacks(each):
            if _may_be_suspended(tb.tb_frame):
                continue
            try:
                tb.tb_frame.clear()
            except RuntimeError:
                continue  # it is running


class Reserve:
    """Room that is set aside for the moment when there is none.

    First the room itself, so that a call can be made at all; then the process's limit of data is
    lifted a little, since what handles an error in an application (logging a traceback) may have
    taken the room before us, and glibc takes 2 MB at once where it uses huge pages.
    """

    def __init__(self, size_bytes: int = RESERVE_BYTES) -> None:
        self._size_bytes = size_bytes
        self._room: mmap.mmap | None = None
        # The limit before it was lifted, and as it is since; None: it was not.
        self._lifted: tuple[int, int] | None = None
        self.refill()

    def release(self) -> None:
        """Give the room to whoever allocates next. Once more gives more, up to a bound."""
        room, self._room = self._room, None
        if room is not None:
            room.close()
        try:
            soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
            before = self._lifted[0] if self._lifted is not None else soft
            wanted = min(soft + LIFT_BYTES, before + MOST_LIFTED_BYTES)
            if soft == resource.RLIM_INFINITY or wanted <= soft:
                return
            resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
            self._lifted = before, wanted
        except (OSError, ValueError, MemoryError):
            return  # above the hard limit: the user's own

    def refill(self) -> None:
        """Set room aside again, if there is any."""
        try:
            if self._lifted is not None:
                (before, lifted), self._lifted = self._lifted, None
                soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
                if soft == lifted:  # else the supervisor has set another since
                    resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
            if self._room is None:
                # Private: RLIMIT_DATA does not count shared mappings.
                self._room = mmap.mmap(-1, self._size_bytes, flags=_PRIVATE)
        except (OSError, ValueError, MemoryError):
            return  # tried again after the next failure, and at the next beat


_PRIVATE: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    coming = [error]
    while coming and len(seen) < _MAX_ERRORS:
        each = coming.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        coming += (each.__context__, each.__cause__)
        if isinstance(each, BaseExceptionGroup):
            coming += each.exceptions[:_MAX_ERRORS]


def _tracebacks(error: BaseException) -> Iterator[TracebackType]:
    tb = error.__traceback__
    for _ in range(_MAX_FRAMES):
        if tb is None:
            return
        yield tb
        tb = tb.tb_next


def _noted(error: BaseException) -> tuple[list[_Place], list[_Place]]:
    """Return where *error* came through, and of that what is the application's own."""
    known: list[_Place] = []
    known_own: list[_Place] = []
    for each in _chain(error):
        if each is not error and not isinstance(each, MemoryError):
            continue
        places = [(tb.tb_frame.f_code, tb.tb_lineno, tb.tb_lasti) for tb in _tracebacks(each)]
        own = [place for place in places if not _is_library(place[0].co_filename)]
        if places and (own or not known_own):
            known, known_own = places, own
    return known, known_own


def _may_lack_frames(error: MemoryError) -> bool:
    """Return whether *error* may have come from further in than its innermost frame.

    Where even the entry for a frame cannot be allocated, CPython unwinds that frame without one,
    which frees what it held. Not so where the innermost one stands at an instruction that allocates
    by itself; and an error that says something about itself was made with memory at hand.
    """
    known, _ = _noted(error)
    if error.args or not known:
        return not error.args
    code, _, last = known[-1]
    # A frame that has called another stands behind the call, in its cache (CPython 3.11).
    while last > 0 and code.co_code[last] == _CACHE:
        last -= 2
    return not opname[code.co_code[last]].startswith(_ALLOCATES)


def _may_be_suspended(frame: FrameType) -> bool:
    # One that has ended stands where it was left; it was left at a yield only if an error was
    # thrown into it there.
    code = frame.f_code
    return bool(code.co_flags & _RUNS_IN_STEPS) and code.co_code[frame.f_lasti] == _YIELD


def _free_bytes(data_bytes: int) -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return None if limit == resource.RLIM_INFINITY else max(0, limit - data_bytes)


def _is_library(path: str) -> bool:
    # A path that is relative is no module's: code from a string, or Cython's, as uvloop has it.
    inside = not path.startswith("/") or path.startswith((_STANDARD_LIBRARY, _OURS))
    return inside or any(mark in path for mark in _PACKAGES)


def _short(path: str) -> str:
    for mark in _PACKAGES:
        if mark in path:
            return path.rpartition(mark)[2]
    return path.removeprefix(_STANDARD_LIBRARY).removeprefix(f"{os.getcwd()}/")
