"""The figures of a run: what each is called, how it is written, and those that are sums of answers.

A run's figures are a mapping from names to numbers. A name ends in its unit: ``_bytes``,
``_seconds``, ``_share`` (0 to 1), ``_rows``; others are counts. What a run cannot tell is not in
it. Pure.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from benchmarks.beforeafter.crowd import OK, TIMED_OUT, Answer, Played
from benchmarks.record import quantile
from tonnage.units import MIB

Figures = Mapping[str, float]

IN_TIME_SECONDS: Final = 2.0
"""What takes longer is not taken for served at once with others."""

TITLES: Final = {
    "start_bytes": "memory at start",
    "mean_bytes": "memory under load, mean",
    "peak_bytes": "memory, peak",
    "kernel_kills": "killed by the kernel",
    "restarts": "started again by the platform",
    "silent_seconds": "time without an answer",
    "longest_silence_seconds": "longest time without an answer",
    "up_share": "time with an answer",
    "recovery_seconds": "all well again after the load",
    "concurrency": f"most requests at once, answered in {IN_TIME_SECONDS:g} s",
    "per_second": "good answers a second",
    "p50_seconds": "answered in, p50",
    "p99_seconds": "answered in, p99",
    "error_share": "requests that failed",
    "timeout_share": "of all requests, timed out",
    "cache_hits_share": "found in caches",
    "dropped_share": "records dropped, as it says",
    "lost_share": "records acknowledged and not stored, of the worst table",
    "writer_bytes": "writers' buffers, most",
    "heartbeat_bytes": "heartbeats, most",
    "log_queue_bytes": "log lines that wait, most",
    "log_bytes": "log files written",
    "image_seconds": "photo to picture, p50",
    "job_bytes": "memory of the picture's process, most",
    "query_seconds": "time of a query, mean",
    "query_rows": "rows of a query, mean",
    "database_bytes": "memory of the database, most",
    "database_connections": "connections to the database, most",
    "database_refusals": "connections the database refused",
}
"""All figures, in the order of the table."""


def of_answers(played: Played) -> dict[str, float]:
    """Return the figures that follow from what became of the requests."""
    answers = played.answers
    in_time = [each for each in _good(answers) if each.seconds <= IN_TIME_SECONDS]
    found = {"per_second": _rate(played), "concurrency": float(most_at_once(in_time))}
    if answers:
        outcomes = outcomes_of(answers)
        found["error_share"] = 1 - outcomes[OK] / len(answers)
        found["timeout_share"] = outcomes[TIMED_OUT] / len(answers)
    for name, share in (("p50_seconds", 0.5), ("p99_seconds", 0.99)):
        found[name] = quantile((each.seconds for each in _good(answers)), share)
    found["image_seconds"] = quantile(played.files_seconds, 0.5)
    return {name: value for name, value in found.items() if not math.isnan(value)}


def outcomes_of(answers: Iterable[Answer]) -> Counter[str]:
    """Return how many requests came to what."""
    return Counter(each.outcome for each in answers)


def most_at_once(answers: Iterable[Answer]) -> int:
    """Return how many of *answers* were under way at one moment, at most."""
    # Those that end at a moment are over before those that begin then.
    moments = sorted(
        moment for each in answers for moment in ((each.sent_at, 1), (each.done_at, -1))
    )
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def of_memory(bytes_used: Sequence[int]) -> dict[str, float]:
    """Return mean and peak of samples that were taken at equal distances."""
    if not bytes_used:
        return {}
    return {"mean_bytes": statistics.fmean(bytes_used), "peak_bytes": float(max(bytes_used))}


def of_probes(answered: Sequence[bool], every_seconds: float) -> dict[str, float]:
    """Return how long there was no answer, from probes *every_seconds* in their order."""
    longest = run = 0
    for is_answered in answered:
        run = 0 if is_answered else run + 1
        longest = max(longest, run)
    silent = sum(not each for each in answered)
    found = {
        "silent_seconds": silent * every_seconds,
        "longest_silence_seconds": longest * every_seconds,
    }
    return found | ({"up_share": 1 - silent / len(answered)} if answered else {})


def of_records(acknowledged: Mapping[str, int], made: Mapping[str, int]) -> dict[str, float]:
    """Return the share of *acknowledged* records that were not *made*, of the worst table.

    A table that is not among *made* has nothing to compare with. More rows than were acknowledged
    are those of clients who had no answer: nothing is lost there.
    """
    known = {table: count for table, count in acknowledged.items() if table in made and count}
    if not known:
        return {}
    lost = [max(0, count - made[table]) / count for table, count in known.items()]
    return {"lost_share": max(lost)}


def median(runs: Iterable[Figures], name: str) -> float | None:
    """Return the median of a figure over those *runs* that know it, None if none does."""
    values = [run[name] for run in runs if name in run]
    return statistics.median(values) if values else None


def cell(runs: Sequence[Figures], name: str) -> str:
    """Return a figure for a table: its median, and from where to where it went."""
    middle = median(runs, name)
    if middle is None:
        return "-"
    values = [run[name] for run in runs if name in run]
    least, most, text = (written(name, each) for each in (min(values), max(values), middle))
    return text if least == most else f"{text} ({least} to {most})"


def written(name: str, value: float) -> str:
    """Return *value* of the figure *name* with its unit."""
    if name.endswith("_bytes"):
        # A page of buffers is not nothing.
        return f"{value / MIB:.0f} MB" if value >= 9.5 * MIB or not value else _small(value)
    if name.endswith("_share"):
        return f"{100 * value:.2f} %" if 0 < value < 0.01 or 0.99 < value < 1 else _percent(value)
    if name.endswith("_seconds"):
        return f"{value:.1f} s" if value >= 1 or not value else f"{1000 * value:.3g} ms"
    if name.endswith("_rows"):
        return f"{value:,.0f} rows"
    return f"{value:,.0f}"


def _small(value: float) -> str:
    return f"{value / MIB:.1f} MB" if value >= MIB / 10 else f"{value / 1024:.1f} KB"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if 0 < value < 1 else f"{100 * value:.0f} %"


def _good(answers: Iterable[Answer]) -> list[Answer]:
    return [each for each in answers if each.outcome == OK]


def _rate(played: Played) -> float:
    in_time = sum(each.done_at <= played.ended_at for each in _good(played.answers))
    return in_time / (played.ended_at - played.began_at)
