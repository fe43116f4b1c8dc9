"""What the options say of databases, for application code: in a worker, and elsewhere.

How many connections a worker may have is known only when there are workers (:func:`use_share`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.budget.connections import USUAL_CONNECTIONS
from tonnage.config import Applied

if TYPE_CHECKING:
    from tonnage.settings import DatabaseSettings

_databases: Applied[DatabaseSettings] = Applied(lambda settings: settings.databases)
_share: int | None = None
_workers = 1

use = _databases.use
current = _databases.current


def use_share(connections: int | None, workers: int = 1) -> None:
    """Say how many connections this worker may have, in all its pools without a limit together.

    None: nobody knows. *workers* is how many workers there are, for what they may have together.
    """
    global _share, _workers  # one for a process
    _share, _workers = connections, workers


def share() -> int:
    """Return how many connections this process may have; under another server a usual number."""
    if _share is not None:
        return _share
    wished = current().database_connections
    if wished is None:
        return USUAL_CONNECTIONS
    # Nobody says how many workers there are: there is one, and the one that takes its place.
    return max(1, min(USUAL_CONNECTIONS, wished // 2))


def workers() -> int:
    """Return how many workers there are with pools like those of this process, as far as known."""
    return _workers
