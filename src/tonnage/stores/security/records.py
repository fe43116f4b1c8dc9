"""What a monitor hands out: an alert, its statistics, and the problem that a client is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage.problem import Problem

if TYPE_CHECKING:
    from tonnage.stores.security.rules import Rule


@dataclass(frozen=True, slots=True)
class SecurityAlert:
    """A rule that was met.

    Attributes:
        rule: the rule.
        text: a sentence.
        client: the address that met it; empty where it was for a user.
        user: the user that it was for, as the monitor shows users.
        block_seconds: for how long the client is blocked; 0: it is not.
    """

    rule: Rule
    text: str
    client: str
    user: str
    block_seconds: float


@dataclass(frozen=True, slots=True)
class SecurityStatistics:
    """What was counted in all workers since the server has started; and what is so now.

    Attributes:
        kept: events that can be listed now.
        failed: attempts that failed.
        succeeded: attempts that succeeded.
        suspicious: suspicious activity.
        blocked: how often a client was blocked.
        alerts: how often people were told.
        left_out: of those that failed or were suspicious, not kept: the client was blocked.
        refused: how often a blocked client was refused by ``check``.
        blocked_now: clients that are blocked now.
        forgotten: counts and blocks that were forgotten early, since there were too many.
    """

    kept: int
    failed: int
    succeeded: int
    suspicious: int
    blocked: int
    alerts: int
    left_out: int
    refused: int
    blocked_now: int
    forgotten: int


def blocked(seconds: float) -> Problem:
    """Return what a client is told that is blocked for so long yet."""
    wait_seconds = max(1, -int(-seconds // 1))
    return Problem(
        429,
        "blocked",
        f"too many attempts have failed from where this one comes; try again in {wait_seconds} s",
        {"retryAfter": wait_seconds},
        ((b"retry-after", b"%d" % wait_seconds),),
    )
