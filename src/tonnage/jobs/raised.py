"""What a job's function raised, on its way to the caller.

Promises: the caller gets the error itself, with the text of the job's traceback as its cause
(:class:`RemoteTraceback`), or, where it cannot be passed on, a
:class:`~tonnage.errors.JobRaisedError` with its type and text. What would end the caller's process
or loop, such as SystemExit, never arrives as such.

Bounded: a text by :data:`LONGEST_CHARS`, a pickled error by :data:`LARGEST_BYTES`.
"""

from __future__ import annotations

import pickle
import traceback
from typing import TYPE_CHECKING, Final

from tonnage.errors import JobRaisedError

if TYPE_CHECKING:
    from types import TracebackType

#: Of a longer traceback, its end is kept.
LONGEST_CHARS: Final = 16_000
#: An error that holds more, such as a whole answer, arrives as its text.
LARGEST_BYTES: Final = 1024 * 1024
_LONGEST_MESSAGE_CHARS: Final = 1000
# They have a meaning of their own where they are raised.
_NOT_AS_THEY_ARE: Final = (StopIteration, StopAsyncIteration)

Raised = tuple[str, str, bytes | None]


class RemoteTraceback(Exception):  # noqa: N818  (it is no error but tells of one)
    """The traceback of a job's error, as text: where it was raised cannot be passed on."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text

    def __str__(self) -> str:
        return f'\n"""\n{self._text}"""'


def packed(error: BaseException, own_files: tuple[str, ...]) -> Raised:
    """Return *error* as what can be sent; frames of *own_files* at the top are left out."""
    shown = error.with_traceback(_without(error.__traceback__, own_files))
    text = "".join(traceback.format_exception(shown))[-LONGEST_CHARS:]
    return _described(error), text, _pickled(error)


def unpacked(raised: Raised, function: str) -> BaseException:
    """Return the error that :func:`packed` was given, or one that tells of it."""
    described, text, pickled = raised
    error: object = None
    if pickled is not None:
        try:
            error = pickle.loads(pickled)
        except Exception:  # noqa: BLE001 - its own code runs; what it raises says nothing more
            error = None
    if not isinstance(error, Exception):
        error = JobRaisedError(f"{function} raised {described}")
    error.__cause__ = RemoteTraceback(text)
    return error


def _described(error: BaseException) -> str:
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - its own code runs
        said = "and its text cannot be had"
    return f"{name}: {said[:_LONGEST_MESSAGE_CHARS]}"


def _pickled(error: BaseException) -> bytes | None:
    if not isinstance(error, Exception) or isinstance(error, _NOT_AS_THEY_ARE):
        return None
    try:
        found = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - its own code runs; the text will do
        return None
    return found if len(found) <= LARGEST_BYTES else None


def _without(trace: TracebackType | None, own_files: tuple[str, ...]) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename in own_files:
        trace = trace.tb_next
    return trace
