"""What was observed, and what follows from it, in words: for a terminal, and for the log.

Pure; decides nothing (:mod:`tonnage.ops.sizing.advice`).
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.levels import Level
from tonnage.ops.sizing.advice import PART_NAMES
from tonnage.units import counted, format_bytes, format_seconds, in_mb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tonnage.ops.sizing.advice import Advice, Size
    from tonnage.ops.sizing.record import History, Row

_VERDICTS: Final = {
    "fits": "fits",
    "fewer workers": "fits with fewer workers",
    "waits": "tight",
    "too small": "too small",
}
_SURENESS: Final = {
    "a guess": "hardly more than a guess",
    "little": "not very",
    "fair": "fairly",
    "good": "a week or more was observed",
}


def render(history: History, whole: Row, advice: Advice, others: Sequence[Row]) -> str:
    """Return all of it for a person, ending with a newline; *others* are not counted in it."""
    lines = [
        f"{history.target}, observed for {format_seconds(whole.seconds)} since"
        f" {_day(history.days[0].start_seconds)}, with {counted(whole.workers, 'worker')}, limit"
        f" {format_bytes(whole.limit_bytes)}",
        "",
        f"  {'':<14}  {'at the peak':>11}  {'p99':>9}  {'highest':>9}",
        *(_part(name, whole) for name in PART_NAMES),
        f"  {'used':<14}  {_size(whole.peak_bytes):>11}  {_size(whole.p99_bytes):>9}"
        f"  {_size(whole.peak_bytes):>9}",
        "",
        f"Peak {_of_limit(whole)} on {_minute(whole.peak_seconds)}; {_happened(whole)}.",
        f"Level: {_levels(whole)}.",
        "",
        verdict(advice),
        f"How sure: {_SURENESS[advice.sureness]}.",
        *(f"warning: {doubt}" for doubt in advice.doubts),
        *(f"Not counted: {_other(row)}." for row in others),
        "",
        *(_row(size) for size in advice.sizes),
    ]
    return "\n".join(lines) + "\n"


def verdict(advice: Advice) -> str:
    """Return the one sentence that matters."""
    if advice.limit_bytes is None:
        return (
            "No limit would do with these thresholds: --exhausted-at is a size, and lies below the"
            " peak."
        )
    workers = counted(advice.workers, "worker")
    return (
        f"A limit of {format_bytes(advice.limit_bytes)} would do for {workers}, with a margin of"
        f" {advice.margin:.0%} above the peak."
    )


def log_line(row: Row, advice: Advice) -> tuple[str, dict[str, Any]]:
    """Return what the log says of *row*, and the figures beside it."""
    would = (
        f"a limit of {format_bytes(advice.limit_bytes)} would do with a margin of"
        f" {advice.margin:.0%}"
        if advice.limit_bytes is not None
        else "no limit would do"
    )
    text = (
        f"observed {format_seconds(row.seconds)}: peak {_of_limit(row)} on"
        f" {_minute(row.peak_seconds)}, p99 {format_bytes(row.p99_bytes)}, {_happened(row)};"
        f" {would}"
    )
    return text, {
        "observed_seconds": row.seconds,
        "peak_mb": in_mb(row.peak_bytes),
        "p99_mb": in_mb(row.p99_bytes),
        "limit_mb": in_mb(row.limit_bytes),
        "would_do_mb": None if advice.limit_bytes is None else in_mb(advice.limit_bytes),
        "margin": advice.margin,
        "workers": row.workers,
        "in_flight": row.in_flight,
        "refused": row.refused,
        "memory_errors": row.memory_errors,
        "kernel_kills": row.kernel_kills,
        "at_peak_mb": {name: in_mb(size) for name, size in row.at_peak.items()},
        "level_seconds": list(row.level_seconds),
    }


def to_json(history: History, whole: Row, advice: Advice, others: Sequence[Row]) -> dict[str, Any]:
    """Return all of it as plain data: sizes in bytes, times in seconds, shares of 1."""
    return {
        "target": history.target,
        "version": history.version,
        "measured": history.measured,
        "plan": dict(history.plan),
        "written_seconds": history.written_seconds,
        "is_running": history.is_running,
        "observed": asdict(whole),
        "advice": asdict(advice),
        "not_counted": [asdict(row) for row in others],
    }


def _part(name: str, whole: Row) -> str:
    figures = [_size(each.get(name, 0)) for each in (whole.at_peak, whole.p99s, whole.peaks)]
    label = name.replace("_", " ")
    return f"  {label:<14}  {figures[0]:>11}  {figures[1]:>9}  {figures[2]:>9}"


def _row(size: Size) -> str:
    told = _VERDICTS[size.verdict]
    now = " (now)" if size.is_present else ""
    return f"  {format_bytes(size.limit_bytes):>8}{now:<6}  {told:<23}  {size.why}"


def _other(row: Row) -> str:
    return (
        f"{format_seconds(row.seconds)} since {_day(row.start_seconds)} with"
        f" {counted(row.workers, 'worker')}, peak {_of_limit(row)}"
    )


def _happened(row: Row) -> str:
    return (
        f"{counted(row.in_flight, 'request')} at once, {row.waited} waited for memory,"
        f" {row.refused} refused, {counted(row.recycles, 'worker')} recycled,"
        f" {counted(row.kernel_kills, 'kernel kill')}"
    )


def _levels(row: Row) -> str:
    whole = max(1.0, sum(row.level_seconds))
    pairs = zip(Level, row.level_seconds, strict=True)
    return ", ".join(f"{at.name} {_share(seconds, whole)}" for at, seconds in pairs if seconds)


def _share(seconds: float, whole: float) -> str:
    share = seconds / whole
    return (
        f"{format_seconds(seconds)} ({share:.1%})"
        if share < 0.999
        else f"{format_seconds(seconds)} (all)"
    )


def _of_limit(row: Row) -> str:
    percent = row.peak_bytes / max(1, row.limit_bytes)
    return f"{format_bytes(row.peak_bytes)} of {format_bytes(row.limit_bytes)} ({percent:.0%})"


def _size(size_bytes: int) -> str:
    return format_bytes(size_bytes) if size_bytes else "-"


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _minute(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
