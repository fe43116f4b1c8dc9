"""How full it is: OK, WARNING, CRITICAL, EXHAUSTED.

Covers:
- the marks at which a level is entered and left, resolved from the user's thresholds;
- the pure step from one level to the next (hysteresis, hold time).

Does not cover what is done at a level (:mod:`tonnage.governor.reclaim`, the supervisor) nor which
request may start: that is decided from the ledger (:mod:`tonnage.governor.admission`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from tonnage.units import MIB, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

# A level is left only this far (in shares of the limit) below the mark at which it is entered, so
# that a figure trembling around a mark does not make the level flap.
EXIT_GAP_PERCENT = 4.0
# ... and only after the figure stayed below for so long. Envoy and the OpenTelemetry collector have
# neither gap nor hold, and their users report flapping.
HOLD_SECONDS = 1.0


class Level(IntEnum):
    """How close use is to the limit; higher is worse."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    EXHAUSTED = 3


@dataclass(frozen=True, slots=True)
class Marks:
    """Where each level begins, in bytes of use."""

    limit_bytes: int
    warning_bytes: int
    critical_bytes: int
    exhausted_bytes: int

    def entry_bytes(self, level: Level) -> int:
        """Return the use at which *level* is entered."""
        return (0, self.warning_bytes, self.critical_bytes, self.exhausted_bytes)[level]

    def exit_bytes(self, level: Level) -> int:
        """Return the use below which *level* may be left."""
        gap = int(self.limit_bytes * EXIT_GAP_PERCENT / 100)
        entry = self.entry_bytes(level)
        return max(entry - gap, entry // 2)


def marks_for(
    limit_bytes: int,
    *,
    warning: Threshold,
    critical: Threshold,
    exhausted: Threshold,
    free_floor_bytes: int = 16 * MIB,
) -> Marks:
    """Return the marks for a limit.

    EXHAUSTED begins at its threshold or where less than *free_floor_bytes* would be free, whichever
    comes first: of 256 MB, 2 % is 5 MB, which a Python process fills in 10 ms. The floor is at most
    an eighth of the limit. Marks that would be out of order are pulled down to the next higher one.
    """
    floor_bytes = min(free_floor_bytes, limit_bytes // 8)
    exhausted_bytes = min(exhausted.of(limit_bytes), limit_bytes - floor_bytes)
    critical_bytes = min(critical.of(limit_bytes), exhausted_bytes)
    return Marks(
        limit_bytes=limit_bytes,
        warning_bytes=min(warning.of(limit_bytes), critical_bytes),
        critical_bytes=critical_bytes,
        exhausted_bytes=exhausted_bytes,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """The level, and since when use has been below its exit mark (None: it is not)."""

    level: Level = Level.OK
    below_since_seconds: float | None = None


def decide(used_bytes: int, now_seconds: float, marks: Marks, standing: Standing) -> Standing:
    """Return the standing that follows from *used_bytes* at *now_seconds*.

    Up at once, down only after :data:`HOLD_SECONDS` below the level's exit mark; then straight to
    the level that fits.
    """
    entered = _highest_entered(used_bytes, marks)
    if entered > standing.level:
        return Standing(entered)
    if standing.level is Level.OK or used_bytes >= marks.exit_bytes(standing.level):
        return Standing(standing.level)
    since = standing.below_since_seconds
    if since is None:
        return Standing(standing.level, now_seconds)
    if now_seconds - since < HOLD_SECONDS:
        return standing
    return Standing(_lowest_allowed(used_bytes, marks))


def _highest_entered(used_bytes: int, marks: Marks) -> Level:
    return next(level for level in _downwards() if used_bytes >= marks.entry_bytes(level))


def _lowest_allowed(used_bytes: int, marks: Marks) -> Level:
    """Return the worst level whose exit mark use has not fallen under."""
    return next(level for level in _downwards() if used_bytes >= marks.exit_bytes(level))


def _downwards() -> Iterator[Level]:
    return iter((Level.EXHAUSTED, Level.CRITICAL, Level.WARNING, Level.OK))
