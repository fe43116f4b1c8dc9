"""Rows of one query as they come: counted, weighed, and asked for. Decides; fetches none.

Promises: rows are counted about every megabyte; more often where they are larger than those before
them. What is loaded beyond the first megabyte is asked for from the governor, each time as much
again, and held until :attr:`Load.holding` is left.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from tonnage.db.guard.weights import weigh
from tonnage.governor.reservations import reserved
from tonnage.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tonnage.db.guard.tally import Tally

#: What an error says can be done about it.
ADVICE: Final = (
    "add a LIMIT, read pages, or stream (pool.stream); or give the pool other max_rows and"
    " max_bytes"
)
#: So much is loaded without asking.
UNASKED_BYTES: Final = MIB
#: Rows that are counted together are about a megabyte. Where they are so much, large ones are among
#: them: libpq's buffer grows to twice its largest row, and stays so.
LARGE_BYTES: Final = 2 * MIB


class Load:
    """What one query has loaded so far.

    Args:
        tally: what it may load.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._uncounted: list[Any] = []
        self._wanted_rows = 1
        self._granted_bytes = UNASKED_BYTES
        #: What was asked for is kept until this is left.
        self.holding = ExitStack()
        self.rows: list[Any] = []
        self.has_large_row = False

    def take(self, rows: list[Any]) -> None:
        """Add *rows*, which have come.

        Raises:
            ResultTooLargeError: it is more than may be loaded.
            MemoryShortError: what comes next cannot be had in time.
        """
        self._uncounted += rows
        waiting = len(self._uncounted)
        if waiting >= self._wanted_rows or waiting * weigh(rows[-1:]) > MIB:
            self.end()

    def end(self) -> None:
        """Count what was not counted yet; raises as :meth:`take`."""
        rows, self._uncounted = self._uncounted, []
        before_bytes = self._tally.size_bytes
        try:
            self._tally.count(rows)
        finally:
            if self._tally.size_bytes - before_bytes > LARGE_BYTES:
                self.has_large_row = True
        self.rows += rows
        self._wanted_rows = self._tally.next_rows
        if self._tally.size_bytes > self._granted_bytes:
            self._ask()

    def _ask(self) -> None:
        self._granted_bytes += self._tally.size_bytes
        self.holding.enter_context(held(self._tally.size_bytes))


@contextmanager
def held(size_bytes: int) -> Iterator[None]:
    """Keep *size_bytes* free for what runs inside.

    Raises:
        MemoryShortError: on entering, when so much did not come free in time.
    """
    # The thread of an event loop must not wait; whoever blocks it has other worries.
    with reserved(size_bytes) if asyncio._get_running_loop() is None else nullcontext():
        yield
