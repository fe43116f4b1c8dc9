"""Parts of what the keeper writes into the log, for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.units import format_bytes

if TYPE_CHECKING:
    from tonnage.governor.statistics import JobStatistics


def told_fall(fallen_bytes: int, reclaimed_bytes: int, recycled_bytes: int) -> str:
    """Return what use fell by, part by part: they add up to *fallen_bytes*."""
    # What nobody had to bring back: it went with the requests, or processes, that held it. Less
    # than nothing: since its highest, more was taken anew than that.
    ended_bytes = fallen_bytes - reclaimed_bytes - recycled_bytes
    parts = (
        (ended_bytes, "as requests or processes ended"),
        (reclaimed_bytes, "by reclaim"),
        (recycled_bytes, "by recycling"),
    )
    told = [(format_bytes(count), how) for count, how in parts if count > 0]
    if not told:
        return ""
    (first, how), *others = told
    text = f": {first} came back {how}" + "".join(f", {count} {how}" for count, how in others)
    if ended_bytes < 0:
        text += f", and {format_bytes(-ended_bytes)} were taken anew meanwhile"
    return text


def told_jobs(jobs: JobStatistics) -> str:
    """Return the log line's part on isolated jobs, nothing where there has been none."""
    if not jobs.started and not jobs.waiting:
        return ""
    held = format_bytes(jobs.held_bytes)
    return f", jobs: {jobs.running} run, {jobs.waiting} wait, {jobs.idle} idle, {held}"
