"""When an error of a sink counts as the fault of the records that it was asked to store.

A sink that fails is tried again, since most failures pass: a database that is away comes back. A
mistake in a program does not: a sink that stumbles over one record would keep back all that come
after it, for ever. So an error such as ``KeyError`` that comes :data:`TRIES` times for the same
batch counts as the fault of a record in it, and the batch is halved until that is alone.

Promises: never for errors of the network, of the disk, or of a driver (:func:`is_of_a_program`);
and where the sink can store nothing any more, for :data:`MOST_IN_A_ROW` records at most, for
:data:`MOST_AT_FIRST` where it has never stored any: from then on it is tried for ever, as after any
other failure, until it stores something. Pure.
"""

from __future__ import annotations

from typing import Final

#: Some twenty seconds, with the pauses between.
TRIES: Final = 10
#: So many are kept in memory (:data:`tonnage.stores.writer.rejected.MOST_KEPT`), and can be seen.
MOST_IN_A_ROW: Final = 100
#: Little: the sink may be new, and its mistake one that all records meet.
MOST_AT_FIRST: Final = 10

_PROGRAM: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RecursionError,
    TypeError,
    ValueError,
)


def is_of_a_program(error: BaseException) -> bool:
    """Return whether *error* is Python's own word for a mistake in a program, or in its data.

    Not what libraries derive from these: an answer that is no JSON may come from a server that is
    just starting.
    """
    return isinstance(error, _PROGRAM) and type(error).__module__ == "builtins"


class Patience:
    """How much of it a writer has left with its sink."""

    def __init__(self) -> None:
        #: How often in a row the batch has failed in the same way.
        self.tries = 0
        self._kind: type[BaseException] | None = None
        # Records that may still be given up before one is stored.
        self._left = MOST_AT_FIRST

    def begin(self) -> None:
        """Begin with another batch."""
        self.tries, self._kind = 0, None

    def stored(self, count: int) -> None:
        """Note that the sink has stored *count* records."""
        self._left = min(MOST_IN_A_ROW, self._left + count)

    def is_over(self, error: Exception, count: int) -> bool:
        """Return whether *error* is the fault of the *count* records that it came for.

        Once it is for a batch, it is for each part of it that fails in the same way.
        """
        if not is_of_a_program(error):
            self.begin()
            return False
        if type(error) is not self._kind:
            self._kind, self.tries = type(error), 0
        self.tries += 1
        if self.tries < TRIES or not self._left:
            return False
        if count == 1:
            self._left -= 1
        return True
