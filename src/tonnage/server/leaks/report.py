"""The text of a leak report: how much each request left, and which lines allocated it.

Turns the record of :mod:`tonnage.server.leaks.trace` into lines for people. Measures nothing, and
writes no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tonnage.server.leaks.trace import GrownLine, TraceReport

# Differences below these are noise: arenas, buffers, what the allocator keeps.
_UNEXPLAINED_BYTES = 4 * MIB
_UNEXPLAINED_SHARE = 0.2

_ENDED = {
    "time": "",
    "budget": "; ended early, since the trace had used its budget",
    "early": "; ended early, since the worker was to end: this is what was seen until then",
    "taken": "; tracemalloc is in use by the application itself, so nothing was traced",
    "overrun": "; one step allocated more than the trace may keep, so there are no lines",
}
# The ends that leave nothing to count.
_WITHOUT_LINES = ("overrun", "taken")
_WHOSE = {"app": "", "library": "  [library]", "server": "  [server's own]"}


def render(report: TraceReport) -> str:
    """Return the text of a trace: a line on the whole, then two for each line that grew."""
    return "\n".join(_lines(report))


def _lines(report: TraceReport) -> Iterator[str]:
    yield f"in {report['seconds']:.1f} s {_left(report)}"
    yield f"tracing cost {format_bytes(report['cost_bytes'])}{_ENDED[report['ended']]}"
    if report["lines"]:
        yield "these lines allocated what stayed:"
    elif report["ended"] not in _WITHOUT_LINES:
        yield _nothing(report)
    for line in report["lines"]:
        yield from _line(line)
    yield from _balance(report)


def _line(line: GrownLine) -> Iterator[str]:
    yield (
        f"  {line['file']}:{line['line']}  {line['code'] or '(no source)'}{_WHOSE[line['whose']]}"
    )
    yield (
        f"    {format_bytes(line['grown_bytes'])} in {line['blocks']:,} blocks"
        f" ({100 * line['share']:.0f} %)"
    )
    way = [frame for frame in line["frames"] if frame != f"{line['file']}:{line['line']}"]
    if way:
        yield f"    by way of {', '.join(way)}"


def _balance(report: TraceReport) -> Iterator[str]:
    """Yield what the traces do not explain, or explain too well."""
    grown, traced = report["grown_bytes"], report["traced_bytes"]
    if report["ended"] in _WITHOUT_LINES:
        return
    if max(grown, traced) < _UNEXPLAINED_BYTES:
        if report["lines"]:
            yield "this is little: trace for longer, or with more requests, to see whether it lasts"
    elif grown - traced > max(_UNEXPLAINED_BYTES, _UNEXPLAINED_SHARE * grown):
        yield (
            f"not allocated through Python: {format_bytes(grown - traced)} of"
            f" {format_bytes(grown)} are unexplained; likely a native library"
        )
    elif traced - grown > max(_UNEXPLAINED_BYTES, _UNEXPLAINED_SHARE * traced):
        yield (
            f"the process itself grew by {format_bytes(grown)} only: some of this replaced older"
            " objects, as in a cache that is full"
        )


def _nothing(report: TraceReport) -> str:
    """Return what to say where no line has grown by what matters."""
    requests, worth = report["requests"], report["worth_bytes"]
    if not requests:
        return (
            f"nothing grew: no line by {format_bytes(worth)} or more; there was no request, so"
            " trace again when there are some"
        )
    return (
        f"nothing grew with these {requests:,} requests: no line by {format_bytes(worth)} or more,"
        f" {format_bytes(worth / requests)} a request"
    )


def _left(report: TraceReport) -> str:
    """Return what the requests left, as far as there were any, and they left something."""
    requests, grown = report["requests"], report["grown_bytes"]
    if requests <= 0:
        if grown < report["worth_bytes"]:
            return "no requests came: nothing to measure"
        return f"no requests came, and {format_bytes(grown)} was left all the same"
    if grown < 0:
        return (
            f"{requests:,} requests left nothing: {format_bytes(-grown)} less is held than before"
        )
    return f"{requests:,} requests left {format_bytes(grown)}{_each(grown, requests)}"


def _each(grown_bytes: int, requests: int) -> str:
    return "" if grown_bytes <= 0 else f": {format_bytes(grown_bytes / requests)} a request"
