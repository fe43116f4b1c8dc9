"""Made histories: what a server might have been observed to use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from tests.budget.wishes import NO_WISHES

from tonnage.budget.sizes import AppSize, Parts, divide
from tonnage.governor.books import PARTS
from tonnage.ops.sizing.record import DAY_SECONDS, HOUR_SECONDS, WORKER_OWN, History, Row
from tonnage.units import MIB

# Midnight of a Monday.
MONDAY = 1_794_787_200

APP = AppSize(
    zygote_bytes=40 * MIB,
    private_anon_bytes=24 * MIB,
    worker_own_bytes=9 * MIB,
    how="measured",
    seconds=0.4,
)


def a_row(
    start_seconds: int,
    peak_mb: float,
    p99_mb: float | None = None,
    *,
    seconds: int = DAY_SECONDS,
    limit_mb: int = 512,
    workers: int = 2,
    **others: Any,
) -> Row:
    """A day, or another stretch, at whose peak requests held what the processes did not."""
    p99 = int((peak_mb if p99_mb is None else p99_mb) * MIB)
    peak = int(peak_mb * MIB)
    fixed = {"supervisor": 12 * MIB, "zygote": 20 * MIB, "workers_shared": 40 * MIB}
    at_peak = dict.fromkeys(PARTS, 0) | fixed | {"workers_own": max(0, peak - 72 * MIB)}
    peaks = {**at_peak, WORKER_OWN: at_peak["workers_own"] // 2}
    return Row(
        start_seconds=start_seconds,
        seconds=seconds,
        limit_bytes=limit_mb * MIB,
        workers=workers,
        peak_bytes=peak,
        peak_seconds=start_seconds + 60,
        p99_bytes=p99,
        p50_bytes=p99 // 2,
        at_peak=at_peak,
        peaks=peaks,
        p99s=peaks,
        level_seconds=(float(seconds), 0.0, 0.0, 0.0),
        **others,
    )


def a_history(
    days: Iterable[Row], hours: Iterable[Row] = (), measured: str = "cgroup working set"
) -> History:
    """A history of these rows."""
    days = tuple(days)
    return History(
        target="main:app",
        directory="/srv/app",
        version="1.0",
        measured=measured,
        is_running=False,
        written_seconds=days[-1].start_seconds + DAY_SECONDS,
        preload=True,
        app=APP,
        plan={"limit": 512 * MIB},
        hours=tuple(hours),
        days=days,
    )


def week(*peaks_mb: float, **others: Any) -> History:
    """Days with these peaks, one after another."""
    return a_history(
        a_row(MONDAY + at * DAY_SECONDS, peak, **others) for at, peak in enumerate(peaks_mb)
    )


def hours(*p99s_mb: float) -> tuple[Row, ...]:
    """Hours with these figures, one after another."""
    return tuple(
        a_row(MONDAY + at * HOUR_SECONDS, figure, seconds=HOUR_SECONDS)
        for at, figure in enumerate(p99s_mb)
    )


def usual_parts(
    *, exhausted_share: float = 0.98, app: AppSize | None = APP
) -> Callable[[int], Parts]:
    """What divides a limit as the plan does for the usual settings."""

    def parts_at(limit_bytes: int) -> Parts:
        exhausted_bytes = int(limit_bytes * exhausted_share)
        wishes = replace(NO_WISHES, workers_strict=False, exhausted_bytes=exhausted_bytes)
        return divide(limit_bytes, exhausted_bytes, app, wishes)

    return parts_at
