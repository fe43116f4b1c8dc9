"""``tonnage status``: what a running server says of itself, as some lines and a table for people.

Made of the server's own JSON (``GET /status``), which ``--json`` prints whole. Pure; a server of
another version may lack a figure, and then shows a dash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.units import counted, format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HEADS: Final = ("worker", "pid", "age", "own memory", "in flight", "waiting", "requests", "state")


def told_status(status: Mapping[str, Any]) -> str:
    """Return the text for *status*."""
    return "\n".join(_lines(status))


def _lines(status: Mapping[str, Any]) -> Iterator[str]:
    blind = "; the memory in use cannot be read just now" if status.get("is_blind") else ""
    since = format_seconds(status.get("level_seconds", 0.0))
    yield (
        f"memory {status.get('level', '-')} for {since}: "
        f"{format_bytes(status.get('used_bytes', 0))} of "
        f"{format_bytes(status.get('limit_bytes', 0))} ({status.get('usage_percent', 0)} %), "
        f"new work waits from {format_bytes(status.get('ceiling_bytes', 0))}{blind}"
    )
    workers: Sequence[Mapping[str, Any]] = status.get("workers", ())
    yield f"{_crew(status)}; up for {format_seconds(status.get('uptime_seconds', 0.0))}"
    if "requests" in status:
        yield (
            f"{counted(status['requests'], 'request')} so far: {status.get('refused', 0)} refused "
            f"for want of room, {status.get('waited', 0)} had to wait"
        )
    yield (
        f"{status.get('recycles', 0)} recycled, "
        f"{format_bytes(status.get('recycled_bytes', 0))} came back by that, "
        f"{format_bytes(status.get('reclaimed_bytes', 0))} by reclaim; "
        f"{status.get('kernel_kills', 0)} killed by the kernel"
    )
    jobs: Mapping[str, Any] = status.get("jobs", {})
    if any(jobs.values()):
        yield _jobs(jobs)
    if workers:
        yield ""
        yield from _table([_HEADS, *map(_row, workers)])


def _crew(status: Mapping[str, Any]) -> str:
    ready, desired = status.get("ready_workers", 0), status.get("desired_workers", 0)
    planned = status.get("planned_workers", desired)
    text = f"{ready} of {counted(desired, 'worker')} ready"
    if desired < planned:
        text += f" ({planned} were planned: recycling has brought no relief; see the log)"
    return text + (", stopping" if status.get("is_stopping") else "")


def _jobs(jobs: Mapping[str, Any]) -> str:
    """Return the line on isolated jobs."""
    held, promised = jobs.get("held_bytes", 0), jobs.get("promised_bytes", 0)
    return (
        f"jobs: {jobs.get('running', 0)} running, {jobs.get('waiting', 0)} waiting, "
        f"{counted(jobs.get('idle', 0), 'idle process', 'idle processes')}, "
        f"{format_bytes(held)} held and "
        f"{format_bytes(promised)} promised; {jobs.get('started', 0)} started, "
        f"{jobs.get('done', 0)} done, {jobs.get('failed', 0)} failed, "
        f"{jobs.get('timed_out', 0)} timed out, {jobs.get('killed', 0)} killed, "
        f"{jobs.get('refused', 0)} refused"
    )


def _row(worker: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (str(worker.get(key, "-")) for key in ("in_flight", "waiting", "requests"))
    return (
        str(worker.get("index", "-")),
        str(worker.get("pid", "-")),
        format_seconds(worker.get("age_seconds", 0.0)),
        format_bytes(worker.get("uss_bytes", 0)),
        *counts,
        str(worker.get("state", "-")),
    )


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield *rows* as lines: figures to the right, the state to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for *cells, last in rows:
        figures = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
        yield f"{figures}  {last}"
