"""Which promises were kept, from what was found. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.soaking.asking import Broken, Tally, unexplained
from benchmarks.soaking.trend import Trend
from tonnage.units import MIB

FLAT_SHARE = 0.1
"""Of the limit. Workers come and go, and a floor that rises by less in the time that is looked at
is not told from one that does not."""

CALM_REFUSED_SHARE = 0.001
"""Of requests that meet no fault. The rate is modest, so that all fit; 99.9 % is what services
promise."""

REFUSED_SHARE = 0.1
"""Of all requests. PostgreSQL, which three of four backends need, is gone for a twentieth of the
time; crowds ask for more than there is room for; and all of it together is to be no more than
twice that."""


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
    #: When a worker was killed by us, and how many have ended unasked, by cause.
    kills: Sequence[float]
    deaths: Mapping[str, int]
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
    deaths = unordered(found.deaths, len(found.kills))
    trend = found.trend
    return [
        Verdict(
            "the kernel has killed nothing",
            f"{found.kernel_kills} kills, peak {found.peak_bytes / MIB:.0f} of"
            f" {found.limit_bytes / MIB:.0f} MB",
            found.kernel_kills == 0,
        ),
        Verdict(
            "no worker ends unasked but those that were killed",
            f"{sum(found.deaths.values())} ended{_causes(found.deaths)},"
            f" {len(found.kills)} kills, {deaths} besides",
            deaths == 0,
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
            f"memory's floor does not rise by {FLAT_SHARE:.0%} of the limit",
            "-" if trend is None else _shown(trend),
            None if trend is None else _is_flat(trend, FLAT_SHARE * found.limit_bytes),
        ),
        Verdict(
            "the level is OK in the end",
            f"{found.last_level}, {found.calm_after_seconds:.0f} s after the load",
            found.last_level == "OK",
        ),
        _few_refused("while nothing is wrong", tally.calm_refused, tally.calm, CALM_REFUSED_SHARE),
        _few_refused("in all", tally.refused, tally.total, REFUSED_SHARE),
        Verdict(
            "who is refused is told when to come again",
            f"{tally.refused:,} refused, {len(tally.bare)} not told",
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


def unordered(deaths: Mapping[str, int], kills: int) -> int:
    """Return how many of *deaths*, by cause, so many *kills* by SIGKILL do not explain."""
    by_signal = deaths.get("signal", 0)
    return sum(deaths.values()) - min(by_signal, kills)


def _causes(deaths: Mapping[str, int]) -> str:
    told = ", ".join(f"{cause} {count}" for cause, count in deaths.items() if count)
    return f" ({told})" if told else ""


def _few_refused(when: str, refused: int, total: int, bound: float) -> Verdict:
    """Return the verdict on so many *refused* of *total*, of which there must be some."""
    return Verdict(
        f"{when} at most {bound:.1%} are refused",
        f"{refused:,} of {total:,}" + (f", {refused / total:.2%}" if total else ""),
        bool(total) and refused <= bound * total,
    )


def _is_flat(trend: Trend, bound_bytes: float) -> bool | None:
    """Return None where the interval holds both: it is not known well enough."""
    if trend.most * trend.hours <= bound_bytes:
        return True
    return False if trend.least * trend.hours > bound_bytes else None


def _shown(trend: Trend) -> str:
    rise, least, most = (
        each * trend.hours / MIB for each in (trend.bytes_per_hour, trend.least, trend.most)
    )
    minutes = trend.hours * 60
    return f"{rise:+.1f} MB in {minutes:.0f} minutes (95 %: {least:+.1f} to {most:+.1f})"
