"""A report on a death, of a worker or a program, or on a request out of memory, as a plain dict.

The dict is what is kept as JSON; units are in its keys, the moment of a sample is told in seconds
before the report. The text for people is made of the same dict
(:mod:`tonnage.server.postmortem.text`). Pure: the clocks' readings are handed in.

Bounded: it holds the samples that it is given (:data:`tonnage.server.samples.MOST_SHOWN`), and as
many requests and workers as the shared page has room for.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tonnage.server.postmortem.advice import advice
from tonnage.server.postmortem.cause import (
    Cause,
    Growth,
    Sureness,
    Verdict,
    grown_since,
    growth_of,
    judge,
    suspect,
)
from tonnage.server.postmortem.facts import Death, KillReason, figures_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tonnage.governor.flight import InFlight
    from tonnage.governor.statistics import WorkerStatistics
    from tonnage.server.postmortem.cause import Suspicion
    from tonnage.server.postmortem.facts import Incident, Kill
    from tonnage.server.samples import Sample

VERSION: Final = 1

#: A crash is put down to allocations that failed at most so long before it.
RECENT_SECONDS: Final = 2.0

# What a process forked by a worker is called, as the worker is.
_WORKER_NAME: Final = "tonnage-w"
# Who had more of the memory than this was not short of it for the other workers' sake.
_LARGE_SHARE: Final = 2 / 3

# Causes that one expects to be a request's doing.
_REQUESTS_CAUSE = frozenset({Cause.OOM, Cause.BRAKE, Cause.CRASH, Cause.EXIT})

_BECAUSE = {
    Sureness.CERTAIN: "because of",
    Sureness.LIKELY: "probably because of",
    Sureness.GUESS: "perhaps because of",
}


def of_death(
    death: Death,
    samples: Sequence[Sample],
    *,
    now_seconds: float,
    at_seconds: float,
    failed_seconds: float | None = None,
) -> dict[str, Any]:
    """Return the report on *death*.

    Args:
        death: the facts.
        samples: the last seconds, the oldest first.
        now_seconds: the clock that the samples were taken by.
        at_seconds: the same moment, as seconds since 1970.
        failed_seconds: when an allocation last failed in the worker, by the clock of the samples;
            None: none has, as far as is known.
    """
    is_recent = failed_seconds is not None and now_seconds - failed_seconds <= RECENT_SECONDS
    # What failed long ago, in a request that was answered, has crashed nothing now.
    samples = _of_this_process(death, samples, now_seconds)
    verdict = judge(death if is_recent else replace(death, memory_errors=0), samples)
    suspicion = suspect(death, verdict)
    blame = _blame(death, verdict, suspicion)
    summary = f"{_who(death)} {_told(verdict)}{blame}"
    report = _begin("death", summary, at_seconds)
    report["cause"] = _cause(verdict)
    report["culprit"] = culprit = _culprit(suspicion)
    if culprit is not None and suspicion is not None and death.program is None:
        culprit |= _meanwhile(death, suspicion.request, samples, now_seconds)
    if death.program is None:
        report["worker"] = _dead_worker(death)
    else:
        report["program"] = {"pid": death.program.pid, "name": death.program.name}
        report["worker"] = _worker(death, figures_of(death))
    report |= _circumstances(death, samples, now_seconds)
    route = _route(suspicion.request) if suspicion else None
    report["what_to_do"] = advice(
        verdict.cause,
        route,
        of_program=death.program is not None,
        of_job=death.program is not None and death.program.is_job,
        in_shared=death.kill is not None and death.kill.memory == "shared",
        is_fused=death.data_limit_bytes > 0,
    )
    return report


def of_incident(
    incident: Incident,
    samples: Sequence[Sample],
    *,
    now_seconds: float,
    at_seconds: float,
    held_back: int = 0,
) -> dict[str, Any]:
    """Return the report on *incident*; *held_back* like it had no report of their own."""
    samples = _of_this_process(incident, samples, now_seconds)
    where = f" at {incident.line}" if incident.line else ""
    summary = (
        f"{incident.route} ran out of memory{where}, {_answered(incident)}; "
        f"worker {incident.worker} went on"
    )
    report = _begin("incident", summary, at_seconds)
    text = "an allocation failed in one request; the worker went on"
    report["cause"] = _cause(Verdict(Cause.MEMORY_ERROR, text, Sureness.CERTAIN))
    report["culprit"] = {
        "request": incident.route,
        "why": f"it raised MemoryError{where}",
        "sureness": Sureness.CERTAIN.value,
        "line": incident.line,
        "grown_bytes": incident.grown_bytes,
        "left_bytes": incident.left_bytes,
        "was_freed": incident.was_freed,
        "answered_status": incident.answered or None,
    }
    report["held_back"] = held_back
    report["worker"] = _worker(incident, figures_of(incident))
    report |= _circumstances(incident, samples, now_seconds)
    report["what_to_do"] = advice(
        Cause.MEMORY_ERROR, incident.route, crowd=_crowd(incident), left_bytes=incident.left_bytes
    )
    return report


def _who(death: Death) -> str:
    if death.program is None:
        return f"worker {death.worker}"
    pid, name = death.program.pid, death.program.name
    if death.program.is_job:
        return f"{name} (pid {pid})"
    if name.startswith(_WORKER_NAME):
        # It has run no program of its own, so that it still bears the worker's name.
        parent = "a worker" if death.worker is None else f"worker {death.worker}"
        return f"a process forked by {parent} (pid {pid})"
    starter = "the application" if death.worker is None else f"worker {death.worker}"
    return f"{name} (pid {pid}), a program started by {starter},"


def _of_this_process(
    facts: Death | Incident, samples: Sequence[Sample], now_seconds: float
) -> Sequence[Sample]:
    """Return *samples* without what the process before this one held in the worker's slot."""
    figures = figures_of(facts)
    age_seconds = figures.age_seconds if figures is not None else None
    if isinstance(facts, Death) and facts.program is None:
        age_seconds = facts.age_seconds or age_seconds
    if facts.worker is None or age_seconds is None:
        return samples
    since = now_seconds - age_seconds
    return [each if each.now_seconds >= since else each.without(facts.worker) for each in samples]


def _crowd(incident: Incident) -> int:
    """Return how many workers share the memory, where a request had little for that; else 0."""
    known = incident.statistics
    workers, most_bytes = len(known.workers), known.ceiling_bytes * _LARGE_SHARE
    return workers if workers > 1 and 0 < incident.left_bytes < most_bytes else 0


def _meanwhile(
    death: Death, request: InFlight, samples: Sequence[Sample], now_seconds: float
) -> dict[str, Any]:
    """Return what the worker grew by since *request* began, which has no figure while it runs."""
    if not request.is_running or request.grown_bytes or death.worker is None:
        return {}
    seen = grown_since(samples, death.worker, now_seconds - request.age_seconds) or 0
    kill = _brakes(death)
    if kill is not None and request.age_seconds >= kill.grown_seconds and kill.grown_bytes > seen:
        return {"worker_grown_bytes": kill.grown_bytes, "worker_grown_memory": kill.memory}
    return {"worker_grown_bytes": max(0, seen), "worker_grown_memory": "private"}


def _brakes(facts: Death | Incident) -> Kill | None:
    """Return the brake's figures on a worker that it has ended."""
    kill = facts.kill if isinstance(facts, Death) and facts.program is None else None
    return kill if kill is not None and kill.reason is KillReason.BRAKE else None


def _told(verdict: Verdict) -> str:
    """Return the verdict's sentence, which a log line shows without how sure it is."""
    if verdict.cause is Cause.FAILED_ALLOCATION:
        # That it crashed is certain, and that allocations had failed: not, that the one led to the
        # other.
        return verdict.text.replace(": ", ": probably ", 1)
    return verdict.text


def _begin(kind: str, summary: str, at_seconds: float) -> dict[str, Any]:
    moment = datetime.fromtimestamp(at_seconds, UTC)
    time = moment.isoformat(timespec="milliseconds")
    return {"version": VERSION, "kind": kind, "time": time, "summary": summary}


def _cause(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": verdict.cause.value,
        "text": verdict.text,
        "sureness": verdict.sureness.value,
        "evidence": list(verdict.evidence),
    }


def _blame(death: Death, verdict: Verdict, suspicion: Suspicion | None) -> str:
    if suspicion is not None:
        if verdict.cause is Cause.DEADLINE:
            return f", with {_route(suspicion.request)} still in flight"
        return f", {_BECAUSE[suspicion.sureness]} {_route(suspicion.request)}"
    if death.worker is None:
        return ""
    if not death.in_flight.requests and verdict.cause in _REQUESTS_CAUSE:
        return ", with no request in flight"
    return ""


def _culprit(suspicion: Suspicion | None) -> dict[str, Any] | None:
    if suspicion is None:
        return None
    return {
        "request": _route(suspicion.request),
        "why": suspicion.why,
        "sureness": suspicion.sureness.value,
        **_request(suspicion.request),
    }


def _dead_worker(death: Death) -> dict[str, Any]:
    found = _worker(death, figures_of(death)) | {"age_seconds": round(death.age_seconds, 1)}
    if death.wait_status is not None:
        code = os.waitstatus_to_exitcode(death.wait_status)
        found["signal" if code < 0 else "exit_status"] = abs(code)
    return found


def _worker(facts: Death | Incident, figures: WorkerStatistics | None) -> dict[str, Any]:
    found: dict[str, Any] = {"index": facts.worker, "pid": facts.pid}
    if figures is not None:
        found |= _figures(figures)
        # The slot can be behind: the facts have the process that was meant.
        found["pid"] = facts.pid or figures.pid
    found["memory_errors"] = facts.memory_errors
    found["data_limit_bytes"] = facts.data_limit_bytes
    return found


def _figures(worker: WorkerStatistics) -> dict[str, Any]:
    return {
        "index": worker.index,
        "pid": worker.pid,
        "state": "STUCK" if worker.is_stuck else worker.state.name,
        "age_seconds": round(worker.age_seconds, 1),
        "requests": worker.requests,
        "in_flight": worker.in_flight,
        "waiting": worker.waiting,
        "connections": worker.connections,
        "pss_bytes": worker.pss_bytes,
        "uss_bytes": worker.uss_bytes,
        "held_bytes": worker.held_bytes,
        "promised_bytes": worker.promised_bytes,
        "kept_bytes": worker.kept_bytes,
    }


def _circumstances(
    facts: Death | Incident, samples: Sequence[Sample], now_seconds: float
) -> dict[str, Any]:
    """Return what is told of either: memory, requests in flight, the other workers."""
    others = (each for each in facts.statistics.workers if each.index != facts.worker)
    return {
        "memory": _memory(facts, samples, now_seconds),
        "in_flight": [_request(each) for each in facts.in_flight.requests],
        "in_flight_more": facts.in_flight.beyond,
        "other_workers": [_figures(each) for each in others],
    }


def _memory(
    facts: Death | Incident, samples: Sequence[Sample], now_seconds: float
) -> dict[str, Any]:
    known = facts.statistics
    growth, kill = growth_of(samples, facts.worker), _brakes(facts)
    if kill is not None:
        growth = Growth(kill.grown_bytes, kill.grown_seconds)
    last = samples[-1] if samples else None
    return {
        "measured": known.measured,
        "limit_bytes": known.limit_bytes,
        "ceiling_bytes": known.ceiling_bytes,
        "used_bytes": last.used_bytes if last else known.used_bytes,
        "highest_used_bytes": max((each.used_bytes for each in samples), default=known.used_bytes),
        "cache_bytes": last.cache_bytes if last else known.cache_bytes,
        "level": (last.level if last else known.level).name,
        "kernel_kills": known.kernel_kills,
        "worker_private_bytes": _last_private(samples, facts.worker),
        "worker_grown_memory": kill.memory if kill is not None else "private",
        "worker_grown_bytes": growth.bytes,
        "worker_grown_seconds": round(growth.seconds, 3),
        "worker_grown_bytes_per_second": int(growth.bytes_per_second),
        "samples": _columns(samples, now_seconds),
    }


def _last_private(samples: Sequence[Sample], worker: int | None) -> int:
    """Return what the worker held when it was last seen: after its end it holds nothing."""
    if worker is None:
        return 0
    return next((own for each in reversed(samples) if (own := each.private_of(worker))), 0)


def _columns(samples: Sequence[Sample], now_seconds: float) -> dict[str, Any]:
    """Return the samples as columns: a dict for each would take five times the memory."""
    workers = sorted({n for each in samples for n, own in enumerate(each.private_bytes) if own})
    return {
        "seconds_before": [round(now_seconds - each.now_seconds, 3) for each in samples],
        "used_bytes": [each.used_bytes for each in samples],
        "raw_bytes": [each.raw_bytes for each in samples],
        "cache_bytes": [each.cache_bytes for each in samples],
        "level": [each.level.name for each in samples],
        "private_bytes": {str(n): [each.private_of(n) for each in samples] for n in workers},
    }


def _request(request: InFlight) -> dict[str, Any]:
    return {
        "method": request.method,
        "route": request.route,
        "age_seconds": round(request.age_seconds, 3),
        "expected_bytes": request.expected_bytes,
        "grown_bytes": request.grown_bytes,
        "client": request.client,
        "is_running": request.is_running,
    }


def _route(request: InFlight) -> str:
    return f"{request.method} {request.route}"


def _answered(incident: Incident) -> str:
    return f"answered {incident.answered}" if incident.answered else "its connection was cut"
