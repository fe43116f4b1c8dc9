"""Which limit would do, by what was observed: the formula, and how sure it is.

The formula. Of all that was observed the highest use counts, not a usual one: one moment above the
limit is a kill. To it a margin is added, for what was not seen; and the sum has to stay below the
*ceiling* of the new limit, above which new work waits, so that no request would have waited:

    peak x (1 + margin) <= ceiling(limit) = limit - reserve(limit)

The reserve is the plan's for that limit, and the plan has to fit it as well: the processes at rest,
with the least room for requests. A worker less saves what the plan gives an idle one; what requests
hold stays, as the others serve them.

What was observed under a limit says little of what would have been used without it: where requests
were refused, or killed, the present limit is the least that is advised. Caches that shrink when
memory is short, and requests that could have waited, make the need smaller than the peak: so a
limit in which 99 of 100 seconds would fit is told apart from one that is too small. So is the
present one, and those above it, where nothing has failed: work that waits fills it to its ceiling.

Pure: reads no clock and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tonnage.budget.plan import LIMIT_STEP_BYTES
from tonnage.budget.sizes import Parts, divide
from tonnage.budget.wishes import wishes_from
from tonnage.ops.sizing.growth import Growth, growth_of
from tonnage.ops.sizing.record import DAY_SECONDS, HOUR_SECONDS
from tonnage.units import GIB, MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.budget.sizes import AppSize
    from tonnage.ops.sizing.record import History, Row
    from tonnage.settings import Settings

USUAL_MARGIN: Final = 0.1
#: The sizes that platforms sell; of them, those are told that are near.
USUAL_SIZES: Final = tuple(256 * MIB * 2**step for step in range(13))
_ALWAYS_SHOWN_BYTES: Final = 2 * GIB
# Limits are tried up to so many times the need: beyond, no limit has a ceiling that high.
_MOST_TIMES: Final = 4

Verdict = Literal["fits", "fewer workers", "waits", "too small"]
Sureness = Literal["a guess", "little", "fair", "good"]

PART_NAMES: Final = {
    "supervisor": "the supervisor",
    "zygote": "the imported application",
    "workers_shared": "the workers at rest",
    "workers_own": "what requests, caches and the like hold in the workers",
    "jobs": "isolated jobs",
    "unexplained": "memory of no process: the kernel's, shared memory, files in memory",
}


@dataclass(frozen=True, slots=True)
class Size:
    """What a limit would mean.

    Attributes:
        limit_bytes: the limit.
        verdict: whether what was observed would fit.
        workers: for how many; 0: for none.
        margin: what the ceiling leaves above the peak, as a share of the peak; below 0: nothing.
        is_present: this is the limit that there is.
        why: a phrase for people.
    """

    limit_bytes: int
    verdict: Verdict
    workers: int
    margin: float
    is_present: bool
    why: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about the limit.

    Attributes:
        limit_bytes: the least limit that would do; None: there is none that has such a ceiling.
        workers: for how many workers.
        margin: the margin that was asked for.
        sureness: how much the observation is worth.
        doubts: why it is not worth more; sentences for people.
        largest: the part that held most at the peak.
        growth: that use grows, if it does.
        sizes: what usual limits would mean, and the present one.
    """

    limit_bytes: int | None
    workers: int
    margin: float
    sureness: Sureness
    doubts: tuple[str, ...]
    largest: str
    growth: Growth | None
    sizes: tuple[Size, ...]


def advise(
    history: History,
    whole: Row,
    margin: float,
    parts_at: Callable[[int], Parts],
    *,
    now_seconds: int,
) -> Advice:
    """Return which limit would do.

    Args:
        history: all that is known.
        whole: what counts of it, as one row: all days, or what is to be told of just now.
        margin: what is added to the peak, as a share of it.
        parts_at: returns how the plan divides a limit.
        now_seconds: when this is asked, since 1970.
    """
    least = _least_limit(whole, margin, parts_at)
    if least is not None and _is_held_down(whole):
        least = max(least, whole.limit_bytes)
    growth = growth_of(history)
    sureness = _sureness(whole.seconds)
    if growth is not None and not growth.is_perhaps_a_rhythm:
        sureness = "a guess"
    return Advice(
        limit_bytes=least,
        workers=whole.workers,
        margin=margin,
        sureness=sureness,
        doubts=tuple(_doubts(history, whole, growth, parts_at, now_seconds)),
        largest=_largest(whole),
        growth=growth,
        sizes=tuple(_size(limit, whole, margin, parts_at) for limit in _shown(whole, least)),
    )


def parts_for(settings: Settings, app: AppSize | None) -> Callable[[int], Parts]:
    """Return what divides any limit as the plan would, for an application of the size *app*."""

    def parts_at(limit_bytes: int) -> Parts:
        wishes = wishes_from(settings, limit_bytes)
        return divide(limit_bytes, wishes.exhausted_bytes, app, wishes)

    return parts_at


def _least_limit(whole: Row, margin: float, parts_at: Callable[[int], Parts]) -> int | None:
    need = _need_bytes(whole.peak_bytes, margin)
    first = -(-need // LIMIT_STEP_BYTES) * LIMIT_STEP_BYTES
    for limit in range(first, _MOST_TIMES * first + LIMIT_STEP_BYTES, LIMIT_STEP_BYTES):
        parts = parts_at(limit)
        if need <= _ceiling_bytes(parts) and parts.fits(whole.workers):
            return limit
    return None


def _size(limit: int, whole: Row, margin: float, parts_at: Callable[[int], Parts]) -> Size:
    parts = parts_at(limit)
    ceiling = _ceiling_bytes(parts)
    verdict, workers, why = _verdict(parts, whole, margin)
    return Size(
        limit_bytes=limit,
        verdict=verdict,
        workers=workers,
        margin=ceiling / max(1, whole.peak_bytes) - 1,
        is_present=limit == whole.limit_bytes,
        why=why,
    )


def _verdict(parts: Parts, whole: Row, margin: float) -> tuple[Verdict, int, str]:
    ceiling, need = _ceiling_bytes(parts), _need_bytes(whole.peak_bytes, margin)
    worker_bytes = parts.worker_bytes + parts.pool_bytes
    for workers in range(whole.workers, 0, -1):
        fewer = whole.workers - workers
        if parts.fits(workers) and need - fewer * worker_bytes <= ceiling:
            if not fewer:
                above = ceiling / max(1, whole.peak_bytes) - 1
                return "fits", workers, f"work waits from {above:.0%} above the peak"
            saved = format_bytes(fewer * worker_bytes)
            return "fewer workers", workers, f"with {workers} of {whole.workers}: saves {saved}"
    if parts.fits(whole.workers) and _need_bytes(whole.p99_bytes, margin) <= ceiling:
        over = format_bytes(need - ceiling)
        return "waits", whole.workers, f"99 % of the time; at the peak {over} too much, which waits"
    if parts.fits(whole.workers) and _has_held(parts.limit_bytes, whole):
        return "waits", whole.workers, "it has held: what was too much at once waited"
    if not parts.fits(1):
        needed = format_bytes(parts.needed_bytes(1))
        return "too small", 0, f"the processes and the least room for requests need {needed}"
    largest = _largest(whole)
    size = format_bytes(whole.at_peak.get(largest, 0))
    return "too small", 0, f"{PART_NAMES[largest]}: {size} at the peak"


def _largest(whole: Row) -> str:
    """Return which part held most at the peak."""
    return max(whole.at_peak, key=lambda name: whole.at_peak[name], default="unexplained")


def _shown(whole: Row, least: int | None) -> list[int]:
    """Return the limits to tell of: the usual ones up to the first that would do, and the present.

    At least up to 2 GB; of those far below, none.
    """
    top = max(_ALWAYS_SHOWN_BYTES, whole.limit_bytes, least or 0)
    upto = next((at for at, size in enumerate(USUAL_SIZES) if size >= top), len(USUAL_SIZES) - 1)
    first = max(0, upto - 4)
    return sorted({*USUAL_SIZES[first : upto + 1], whole.limit_bytes})


def _sureness(seconds: float) -> Sureness:
    if seconds < HOUR_SECONDS:
        return "a guess"
    if seconds < DAY_SECONDS:
        return "little"
    # A week has each of its days once.
    return "fair" if seconds < 7 * DAY_SECONDS else "good"


def _is_held_down(whole: Row) -> bool:
    """Return whether the limit has kept use below what it would have been."""
    return bool(whole.refused or whole.memory_errors or whole.kernel_kills)


def _has_held(limit_bytes: int, whole: Row) -> bool:
    """Return whether a limit is no lower than the present one, in which nothing has failed."""
    least = max(whole.limit_bytes, whole.peak_bytes)
    return limit_bytes >= least and not (_is_held_down(whole) or whole.cut_off)


def _doubts(
    history: History,
    whole: Row,
    growth: Growth | None,
    parts_at: Callable[[int], Parts],
    now_seconds: int,
) -> list[str]:
    doubts = []
    if whole.seconds < DAY_SECONDS:
        doubts.append("fewer than 24 hours were observed: the busiest one may be yet to come")
    elif whole.seconds < 7 * DAY_SECONDS:
        doubts.append("less than a week was observed, and days of the week can differ")
    silent_days = (now_seconds - history.written_seconds) // DAY_SECONDS
    if silent_days >= 2:
        doubts.append(f"the last observation is {silent_days} days old")
    if growth is not None:
        doubts.append(_grows(growth, whole, parts_at))
    if _is_held_down(whole):
        doubts.append(
            f"{whole.refused} requests were refused, {whole.memory_errors} ran out of memory, and"
            f" the kernel killed {whole.kernel_kills} processes: with more memory more would have"
            " been used, so no less than the present limit is advised"
        )
    if whole.cut_off:
        doubts.append(
            f"{whole.cut_off} runs ended without a word, as when all processes are killed at once:"
            " what was used at that moment is not known"
        )
    if history.measured.startswith("host"):
        doubts.append(
            "there was no limit but the machine's memory, so what other programs use is in these"
            " figures"
        )
    return doubts


def _grows(growth: Growth, whole: Row, parts_at: Callable[[int], Parts]) -> str:
    left = _ceiling_bytes(parts_at(whole.limit_bytes)) - whole.peak_bytes
    days = max(0.0, left / growth.bytes_per_day)
    when = f"in {days:.0f} days" if days >= 1.5 else "within a day or two"
    told = (
        f"use has grown by {format_bytes(growth.bytes_per_day)} a day, over {growth.observed}: the"
        f" past is no guide; at this rate work would begin to wait at the present limit {when};"
    )
    if growth.is_perhaps_a_rhythm:
        return f"{told} it can be the rhythm of the day, or a leak: see again tomorrow"
    return f"{told} look for a leak, or for what gathers there"


def _need_bytes(size_bytes: int, margin: float) -> int:
    return int(size_bytes * (1 + margin))


def _ceiling_bytes(parts: Parts) -> int:
    return parts.limit_bytes - parts.reserve_bytes
