"""What this process has handed to the task queue, in figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """A moment's figures; all but ``waiting`` since the process began.

    Attributes:
        waiting: jobs that this process waits for now.
        given: jobs put onto the queue.
        joined: calls that found a job of the same id there, and share its result.
        done: calls that have their result.
        failed: calls whose job has raised, has died or has taken too long.
        refused: calls refused since too many jobs wait, a turn did not come, or Redis is away.
        cancelled: calls that nobody waits for any more.
    """

    waiting: int = 0
    given: int = 0
    joined: int = 0
    done: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
