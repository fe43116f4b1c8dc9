"""The figures of a run: what each is called, how it is written, and those that are sums of answers.

A run's figures are a mapping from names to numbers. A name ends in its unit: ``_bytes``,
``_seconds``, ``_share`` (0 to 1), ``_rows``; others are counts. What a run cannot tell is not in
it. Pure.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from benchmarks.beforeafter.crowd import OK, TIMED_OUT, Answer, Played
from benchmarks.record import quantile
from tonnage.units import MIB

Figures = Mapping[str, float]

IN_TIME_SECONDS: Final = 2.0
"""Whoever waits longer for an answer is not being served."""
WINDOW_SECONDS: Final = 5.0
"""How long somebody has to be served without a break to count."""

TITLES: Final = {
    "start_bytes": "memory at start",
    "mean_bytes": "memory under load, mean",
    "peak_bytes": "memory, peak of samples",
    "charged_bytes": "charged by the kernel at most, file cache included",
    "kernel_kills": "killed by the kernel",
    "restarts": "started again by the platform",
    "silent_seconds": "time in which users were not served",
    "longest_silence_seconds": "the longest of it",
    "up_share": "time in which users were served",
    "health_share": "health checks answered",
    "recovery_seconds": "all well again after the load",
    "clients_served": "clients served at once",
    "per_second": "good answers a second",
    "p50_seconds": "answered in, p50",
    "p99_seconds": "answered in, p99",
    "error_share": "requests that failed",
    "timeout_share": "of all requests, timed out",
    "cache_hits_share": "found in caches",
    "dropped_share": "records dropped, as it says",
    "lost_share": "records acknowledged and not found, of the worst kind",
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
    found = {"per_second": _rate(played), "clients_served": float(clients_served(played))}
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


def clients_served(played: Played) -> int:
    """Return how many clients are served at once, in the median of windows of 5 seconds.

    Served in a window is whose requests that are under way in it all get good answers, each within
    ``IN_TIME_SECONDS``; a file may take as long as whoever sends it waits. Not the best moment,
    which a server has for an instant.
    """
    seconds = played.ended_at - played.began_at
    count = max(1, int(seconds // WINDOW_SECONDS))

    def window_of(moment: float) -> int:
        return int((moment - played.began_at) * count / seconds)

    served: list[set[int]] = [set() for _ in range(count)]
    not_served: list[set[int]] = [set() for _ in range(count)]
    for each in played.answers:
        is_in_time = each.is_file or each.seconds <= IN_TIME_SECONDS
        windows = served if each.outcome == OK and is_in_time else not_served
        for clients in windows[window_of(each.sent_at) : window_of(each.done_at) + 1]:
            clients.add(each.client)
    return statistics.median_low(
        len(well - badly) for well, badly in zip(served, not_served, strict=True)
    )


def of_memory(bytes_used: Sequence[int]) -> dict[str, float]:
    """Return mean and peak of samples that were taken at equal distances.

    The kernel's own mark of the highest charge is no such peak: the file cache is in it, which
    anybody fills who reads files, and which costs nothing. Of the working set it keeps no mark.
    """
    if not bytes_used:
        return {}
    return {"mean_bytes": statistics.fmean(bytes_used), "peak_bytes": float(max(bytes_used))}


def of_probes(
    served: Sequence[bool], healthy: Sequence[bool], every_seconds: float
) -> dict[str, float]:
    """Return how long users were not served, from probes *every_seconds* in their order.

    Users are served while what they ask is answered. A health check, which costs nothing, may be
    answered all the same; that is told apart.
    """
    longest = run = 0
    for is_served in served:
        run = 0 if is_served else run + 1
        longest = max(longest, run)
    silent = sum(not each for each in served)
    found = {
        "silent_seconds": silent * every_seconds,
        "longest_silence_seconds": longest * every_seconds,
    }
    if served:
        found["up_share"] = 1 - silent / len(served)
    if healthy:
        found["health_share"] = sum(healthy) / len(healthy)
    return found


@dataclass(frozen=True, slots=True)
class Records:
    """How many records of a kind were acknowledged, and how many of those are not there."""

    acknowledged: int
    lost: int


def records(
    acknowledged: Mapping[str, AbstractSet[str]], stored: Callable[[str], AbstractSet[str]]
) -> dict[str, Records]:
    """Look for each *acknowledged* record of each kind by its key among those that are *stored*.

    What is stored besides is of clients who had no answer, or was there before.
    """
    return {
        kind: Records(len(keys), len(keys - stored(kind))) for kind, keys in acknowledged.items()
    }


def of_records(found: Mapping[str, Records]) -> dict[str, float]:
    """Return the share of acknowledged records that are lost, of the worst kind."""
    shares = [each.lost / each.acknowledged for each in found.values() if each.acknowledged]
    return {"lost_share": max(shares)} if shares else {}


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
