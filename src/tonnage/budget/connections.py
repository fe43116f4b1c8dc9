"""How many connections to a database each worker may have, where nobody has said it.

A connection holds some hundred KB in the client, up to 1 MB with what its last result left behind,
and as much or more in the server. Pure.
"""

from __future__ import annotations

from typing import Final

from tonnage.units import MIB

#: What one is taken to hold in a worker: asyncpg was measured with 173 KB, and 757 after results of
#: 1 MB each.
CONNECTION_BYTES: Final = MIB
#: As many as SQLAlchemy keeps in a pool; each can be asked by one request at a time.
USUAL_CONNECTIONS: Final = 5
#: Of the limit, for the connections of all workers.
CONNECTIONS_SHARE: Final = 0.04


def connections_per_worker(limit_bytes: int, workers: int, wished: int | None) -> int:
    """Return how many connections each of *workers* may have; at least 1.

    *wished* is how many all of them may have. Else it is :data:`USUAL_CONNECTIONS` for each, as far
    as :data:`CONNECTIONS_SHARE` of the limit goes. One more worker is counted than there are: while
    one is replaced, both have theirs.
    """
    if wished is not None:
        return max(1, wished // (workers + 1))
    affordable = int(limit_bytes * CONNECTIONS_SHARE) // CONNECTION_BYTES
    return max(1, min(USUAL_CONNECTIONS, affordable // (workers + 1)))
