"""One client whose requests are meant to go wrong, on the clock, beside a load that is not.

What became of each is counted by its outcome: the status, or "connection lost", "no answer".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import cycle

from benchmarks.probe import every, fetch

LOST = "connection lost"
NO_ANSWER = "no answer"


@contextlib.asynccontextmanager
async def asking(
    port: int, paths: Sequence[str], *, every_seconds: float = 1.0, within_seconds: float = 30.0
) -> AsyncIterator[Counter[str]]:
    """Ask for one of *paths* in turn, every so often, each time on a new connection.

    The last ones are awaited on the way out.
    """
    outcomes: Counter[str] = Counter()
    turns = cycle(paths)

    async def ask() -> None:
        try:
            async with asyncio.timeout(within_seconds):
                outcomes[str((await fetch(port, next(turns))).status)] += 1
        except TimeoutError:
            outcomes[NO_ANSWER] += 1
        except (OSError, EOFError, ValueError):
            outcomes[LOST] += 1

    async with asyncio.TaskGroup() as requests:  # at most within / every = 30 at once
        ticker = requests.create_task(
            every(every_seconds, lambda: requests.create_task(ask())), name="ticker"
        )
        try:
            yield outcomes
        finally:
            ticker.cancel()
