"""A report as text, for whoever was woken by it.

The first line says what happened, when, to which worker and because of which request; then come
memory, the worker, what was in flight, the others, and what to do. Made of the same dict that is
kept as JSON (:mod:`tonnage.server.postmortem.report`). Pure, and at most some 8 KB, what a log line
holds.

Routes and addresses come from clients: whatever is not printable is spelled out, since a terminal
would obey it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.server.postmortem.shelf import OF_APPLICATION
from tonnage.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Rows of the table of samples, requests and workers that are shown; the JSON has all.
MOST_ROWS: Final = 12
_BAR_CHARS: Final = 20
_WIDTH: Final = 98
_LONGEST_NAME: Final = 40
_UNMEASURED: Final = "taken: not measured while its code runs"
# Seconds before the end that the table of memory shows, as near as there are samples.
_MOMENTS: Final = (10.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.0)


def as_text(report: dict[str, Any]) -> str:
    """Return *report* as lines of text."""
    lines = [f"{_when(report)}: {_plain(report['summary'])}", ""]
    lines += _happened(report)
    lines += _memory(report)
    # A program can be there without a worker that is known to have started it.
    lines += _worker(report) if report["worker"]["index"] is not None else []
    lines += _in_flight(report)
    lines += _others(report)
    lines += ["What to do"]
    lines += [line for hint in report["what_to_do"] for line in _wrapped(_plain(hint), "- ")]
    return "\n".join(lines) + "\n"


def _when(report: dict[str, Any]) -> str:
    return f"{report['time'][:19].replace('T', ' ')} UTC"


def _happened(report: dict[str, Any]) -> Iterator[str]:
    cause, culprit = report["cause"], report["culprit"]
    yield "What happened"
    if application := report.get("application"):
        yield f"{OF_APPLICATION}{_plain(application)}"
    yield f"  cause: {cause['kind']} ({cause['sureness']})"
    if program := report.get("program"):
        yield f"  program: {_plain(program['name'])} (pid {program['pid']})"
    for fact in cause["evidence"]:
        yield from _wrapped(_plain(fact))
    if culprit is not None:
        yield from _wrapped(
            f"request: {_plain(culprit['request'])}: {_plain(culprit['why'])} "
            f"({culprit['sureness']})"
        )
        yield from _wrapped(_culprit_figures(culprit))
    if held := report.get("held_back"):
        yield from _wrapped(f"{held} more like it since the last report on this route")
    yield ""


def _culprit_figures(culprit: dict[str, Any]) -> str:
    parts = [_taken(culprit)]
    if "expected_bytes" in culprit:
        parts.append(f"still expected {format_bytes(culprit['expected_bytes'])}")
        parts.append(f"in flight for {format_seconds(culprit['age_seconds'])}")
        parts.append(f"from {_plain(culprit['client']) or 'an unknown client'}")
    return ", ".join(parts)


def _taken(culprit: dict[str, Any]) -> str:
    if culprit.get("was_freed"):
        return (
            f"it needed more than the {format_bytes(culprit['left_bytes'])} that its worker had "
            "left; what it held then could not be measured"
        )
    if "worker_grown_bytes" in culprit:
        grown = f"{format_bytes(culprit['worker_grown_bytes'])}{_of(culprit)}"
        return f"{_UNMEASURED}; its worker grew by {grown} meanwhile"
    if culprit.get("is_running") and not culprit["grown_bytes"]:
        return _UNMEASURED
    return f"taken {format_bytes(culprit['grown_bytes'])}"


def _of(figures: dict[str, Any]) -> str:
    """Return which of the worker's memory it was that grew."""
    memory = figures["worker_grown_memory"]
    return f" of {memory} memory" if memory else ""


def _memory(report: dict[str, Any]) -> Iterator[str]:
    memory, worker = report["memory"], report["worker"]["index"]
    limit = memory["limit_bytes"]
    share = f" ({100 * memory['used_bytes'] / limit:.0f} %)" if limit else ""
    yield "Memory"
    yield (
        f"  limit {format_bytes(limit)}, used {format_bytes(memory['used_bytes'])}{share}, "
        f"shortly before at most {format_bytes(memory['highest_used_bytes'])}, "
        f"level {memory['level']}; file cache beside it {format_bytes(memory['cache_bytes'])}"
    )
    if memory["worker_grown_seconds"]:
        yield from _wrapped(f"worker {worker}: {_growth(report)}")
    yield from _samples(memory["samples"], worker, limit)
    yield ""


def _growth(report: dict[str, Any]) -> str:
    memory = report["memory"]
    private = f"{format_bytes(memory['worker_private_bytes'])} private"
    grown, seconds = memory["worker_grown_bytes"], format_seconds(memory["worker_grown_seconds"])
    speed = f"{_signed(memory['worker_grown_bytes_per_second'])}/s"
    if report["cause"]["kind"] == "brake" and "program" not in report:
        return (
            f"{private} at its end; it had grown by {format_bytes(grown)}{_of(memory)} in "
            f"{seconds} when it was stopped, {speed}"
        )
    return f"{private}; in its last {seconds} {_signed(grown)}, {speed}"


def _samples(samples: dict[str, Any], worker: int | None, limit: int) -> Iterator[str]:
    before, used = samples["seconds_before"], samples["used_bytes"]
    own = samples["private_bytes"].get(str(worker), [0] * len(before))
    if not before:
        yield "  no samples: it had not been looked at"
        return
    heads = ("before", "used", "free", f"worker {worker}", f"used of {format_bytes(limit)}")
    rows = [heads]
    for at in _moments(before):
        filled = min(round(_BAR_CHARS * used[at] / limit), _BAR_CHARS) if limit else 0
        bar = f"[{'#' * filled:<{_BAR_CHARS}}]"
        free = format_bytes(limit - used[at])
        rows.append((format_seconds(before[at]), format_bytes(used[at]), free, _held(own[at]), bar))
    # Without the worker's column where no worker is known.
    yield from _table(rows if worker is not None else [(*row[:3], row[4]) for row in rows])


def _held(private: int) -> str:
    """Return what the process held, or that it did not run."""
    return format_bytes(private) if private else "-"


def _moments(before: Sequence[float]) -> list[int]:
    """Return the numbers of the samples nearest to the moments shown, the oldest first."""
    numbers = range(len(before))
    return sorted({min(numbers, key=lambda n: abs(before[n] - moment)) for moment in _MOMENTS})


def _worker(report: dict[str, Any]) -> Iterator[str]:
    worker = report["worker"]
    yield f"Worker {worker['index']}"
    facts = [f"pid {worker['pid'] or 'unknown'}"]
    if "age_seconds" in worker:
        facts.append(f"{format_seconds(worker['age_seconds'])} old")
    if "requests" in worker:
        facts.append(f"{worker['requests']} requests")
        facts.append(f"own memory (USS) {format_bytes(worker['uss_bytes'])} when last measured")
    yield f"  {', '.join(facts)}"
    limit = worker["data_limit_bytes"]
    fuse = f"{format_bytes(limit)} of data (RLIMIT_DATA)" if limit else "none set"
    yield f"  fuse: {fuse}; requests that ran out of memory in it: {worker['memory_errors']}"
    yield ""


def _in_flight(report: dict[str, Any]) -> Iterator[str]:
    requests, more = report["in_flight"], report["in_flight_more"]
    if not requests:
        return
    yield "In flight in it, the one that took most first"
    shown = sorted(requests, key=lambda each: each["grown_bytes"], reverse=True)[:MOST_ROWS]
    heads = ("age", "taken", "still expected", "", "client", "request")
    yield from _table([heads, *map(_request_row, shown)])
    if hidden := len(requests) - len(shown) + more:
        yield f"  and {hidden} more"
    yield ""


def _others(report: dict[str, Any]) -> Iterator[str]:
    others = report["other_workers"]
    if not others:
        return
    yield "Other workers"
    heads = ("worker", "pid", "age", "own (USS)", "held", "in flight", "state")
    yield from _table([heads, *map(_other_row, others[:MOST_ROWS])])
    if len(others) > MOST_ROWS:
        yield f"  and {len(others) - MOST_ROWS} more"
    yield ""


def _request_row(request: dict[str, Any]) -> tuple[str, ...]:
    return (
        format_seconds(request["age_seconds"]),
        "-" if _is_unmeasured(request) else format_bytes(request["grown_bytes"]),
        format_bytes(request["expected_bytes"]),
        "running" if request["is_running"] else "",
        _plain(request["client"]) or "-",
        _plain(f"{request['method']} {request['route']}")[:_LONGEST_NAME],
    )


def _is_unmeasured(request: dict[str, Any]) -> bool:
    """Whether its first step still runs: what that takes is known when it ends."""
    return bool(request["is_running"]) and not request["grown_bytes"]


def _other_row(worker: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(worker["index"]),
        str(worker["pid"]),
        format_seconds(worker["age_seconds"]),
        format_bytes(worker["uss_bytes"]),
        # Less than at its start: it has given some of that back, and holds nothing.
        format_bytes(max(0, worker["held_bytes"])),
        str(worker["in_flight"]),
        worker["state"],
    )


def _signed(count: int) -> str:
    return format_bytes(count) if count < 0 else f"+{format_bytes(count)}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield *rows* as lines: columns of figures to the right, the last one to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for *cells, last in rows:
        figures = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
        yield f"  {figures}  {last}".rstrip()


def _wrapped(text: str, mark: str = "") -> Iterator[str]:
    """Yield *text* in lines of at most 98 characters, indented."""
    lead = f"  {mark}"
    line = lead
    for word in text.split(" "):
        if len(line) + len(word) > _WIDTH and line.strip() not in ("", mark.strip()):
            yield line.rstrip()
            line = " " * len(lead)
        line += f"{word} "
    yield line.rstrip()


def _plain(text: str) -> str:
    """Return *text* with what is not printable spelled out: control and direction marks too."""
    if text.isprintable():
        return text
    spelled = (char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return "".join(spelled)
