"""Which promises were kept, from what was found. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.soaking.asking import Broken, Tally, unexplained
from benchmarks.soaking.trend import Trend
from tonnage.units import MIB

FLAT_BYTES_PER_HOUR = 24 * MIB
"""Half of a 512 MB limit would last for ten hours: less than that is not told from none."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the soak has seen; ``stored`` is what is wrong with each kind of records."""

    kernel_kills: int
    peak_bytes: int
    limit_bytes: int
    trend: Trend | None
    last_level: str
    calm_after_seconds: float
    tally: Tally
    kills: Sequence[float]
    health_answered: int
    health_failures: Sequence[Broken]
    acknowledged: dict[str, int]
    stored: dict[str, list[str]]
    oversold: int
    exit_status: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise; ``is_kept`` is None where the soak cannot tell."""

    promise: str
    found: str
    is_kept: bool | None

    def row(self) -> list[str]:
        """Return the row of the table."""
        kept = {True: "kept", False: "BROKEN", None: "cannot be told"}[self.is_kept]
        return [self.promise, self.found, kept]


def verdicts(found: Found) -> list[Verdict]:
    """Return one for each promise."""
    tally, broken = found.tally, unexplained(found.tally.broken, found.kills)
    unanswered = unexplained(found.health_failures, found.kills)
    trend = found.trend
    return [
        Verdict(
            "the kernel has killed nothing",
            f"{found.kernel_kills} kills, peak {found.peak_bytes / MIB:.0f} of"
            f" {found.limit_bytes / MIB:.0f} MB",
            found.kernel_kills == 0,
        ),
        *(
            Verdict(
                f"acknowledged {kind}: none is lost, none is there twice",
                f"{count:,} acknowledged, {', '.join(found.stored[kind]) or 'all there'}",
                bool(count) and not found.stored[kind],
            )
            for kind, count in found.acknowledged.items()
        ),
        Verdict("no seat is sold twice", f"{found.oversold} events oversold", found.oversold == 0),
        Verdict(
            "memory does not grow",
            "-" if trend is None else _shown(trend),
            None if trend is None else _is_flat(trend),
        ),
        Verdict(
            "the level is OK in the end",
            f"{found.last_level}, {found.calm_after_seconds:.0f} s after the load",
            found.last_level == "OK",
        ),
        Verdict(
            "who is refused is told when to come again",
            f"{tally.refused:,} refused of {tally.total:,}, {len(tally.bare)} not told",
            not tally.bare,
        ),
        Verdict(
            "every other answer is one that was meant",
            f"{len(tally.unmeant)} were not",
            not tally.unmeant,
        ),
        Verdict(
            "no connection breaks but those of a killed worker",
            f"{len(tally.broken)} with {len(found.kills)} kills, {len(broken)} besides",
            not broken,
        ),
        Verdict(
            "health is answered, but by a killed worker",
            f"{found.health_answered:,} times, not {len(found.health_failures)} times,"
            f" {len(unanswered)} besides",
            not unanswered,
        ),
        Verdict(
            "the server ends when it is told to",
            f"status {found.exit_status}",
            found.exit_status == 0,
        ),
    ]


def _is_flat(trend: Trend) -> bool | None:
    """Return None where the interval holds both: it is not known well enough."""
    if trend.most <= FLAT_BYTES_PER_HOUR:
        return True
    return False if trend.least > FLAT_BYTES_PER_HOUR else None


def _shown(trend: Trend) -> str:
    slope, least, most = (each / MIB for each in (trend.bytes_per_hour, trend.least, trend.most))
    return f"{slope:+.1f} MB an hour (95 %: {least:+.1f} to {most:+.1f})"
