"""Why a worker or a program ended, and which request is to blame: decided from facts, without I/O.

Covers the cause (:func:`judge`), the likely culprit (:func:`suspect`), and how sure each is. Does
not cover what is known (:mod:`tonnage.server.postmortem.facts`), how it is told
(:mod:`tonnage.server.postmortem.report`) nor where it is kept
(:mod:`tonnage.server.postmortem.blackbox`).

What tells the causes apart: the kernel ends a process for want of memory with SIGKILL and counts
that; whom we have ended ourselves we know; everything else is a crash, an exit, or somebody else's
signal. "Right after allocations failed" is read from the worker's own count of MemoryErrors: native
code that meets NULL either aborts (C++'s ``bad_alloc``) or writes to it (SIGSEGV).
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tonnage.server.postmortem.facts import KillReason
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tonnage.governor.flight import InFlight
    from tonnage.server.postmortem.facts import Death, Kill, Program
    from tonnage.server.samples import Sample

# Free memory counts as short below the default --free-floor, or if it would be gone within the
# time in which the brake acts.
SHORT_BYTES: Final = 16 * MIB
SHORT_SECONDS: Final = 0.25
# What a request took beyond expectation is a sign from here on; smaller is the noise of measuring.
OVERGROWN_BYTES: Final = 1 * MIB
# The worker's growth is told over the last second, in which a burst happens.
GROWTH_SECONDS: Final = 1.0
# How exact the age of a program is; a request starts one soon, but not before it has begun.
TICK_SECONDS: Final = 0.02
#: A worker that the kernel has killed is heard of so soon after the kernel has counted it.
PROMPT_SECONDS: Final = 0.25
# An application's error message may hold anything; the log has it whole.
_LONGEST_FAILURE: Final = 300

_CRASHES = frozenset(
    (
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE),
        *(signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP),
    )
)


class Cause(StrEnum):
    """Why it ended; the values stand in the names of reports."""

    OOM = "oom"
    BRAKE = "brake"
    CRASH = "crash"
    FAILED_ALLOCATION = "failed-allocation"
    EXIT = "exit"
    SIGNAL = "signal"
    NOT_STARTED = "not-started"
    DEADLINE = "deadline"
    MEMORY_ERROR = "memory-error"


class Sureness(StrEnum):
    """How sure a conclusion is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    GUESS = "a guess"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The cause, as the rest of a sentence that begins with the worker."""

    cause: Cause
    text: str
    sureness: Sureness
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The request that is to blame, why it is thought so, and how sure that is."""

    request: InFlight
    why: str
    sureness: Sureness


@dataclass(frozen=True, slots=True)
class Growth:
    """How a worker's private memory changed over its last samples; negative: it shrank."""

    bytes: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """The speed, 0 where a single sample does not tell."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0


def growth_of(samples: Sequence[Sample], worker: int | None) -> Growth:
    """Return by how much *worker* grew in the last second of its samples; None: of none."""
    if worker is None:
        return Growth(0, 0.0)
    own = [sample for sample in samples if sample.private_of(worker)]
    if not own:
        return Growth(0, 0.0)
    last = own[-1]
    first = next(each for each in own if each.now_seconds >= last.now_seconds - GROWTH_SECONDS)
    grown = last.private_of(worker) - first.private_of(worker)
    return Growth(grown, last.now_seconds - first.now_seconds)


def grown_since(samples: Sequence[Sample], worker: int, since_seconds: float) -> int | None:
    """Return by how much *worker* was seen to grow at most since then; None: it was not seen."""
    own = [each for each in samples if each.private_of(worker)]
    later = [each.private_of(worker) for each in own if each.now_seconds > since_seconds]
    before = [each.private_of(worker) for each in own if each.now_seconds <= since_seconds]
    return max(later) - (before[-1] if before else later[0]) if later else None


def is_short(samples: Sequence[Sample], limit_bytes: int) -> bool:
    """Return whether free memory was nearly gone in the last sample."""
    if not samples or not limit_bytes:
        return False
    last = samples[-1]
    free = limit_bytes - last.used_bytes
    first = next(s for s in samples if s.now_seconds >= last.now_seconds - SHORT_SECONDS)
    seconds = last.now_seconds - first.now_seconds
    speed = (last.used_bytes - first.used_bytes) / seconds if seconds else 0.0
    return free < max(SHORT_BYTES, speed * SHORT_SECONDS)


def was_short(samples: Sequence[Sample], limit_bytes: int) -> bool:
    """Return whether free memory was nearly gone at any time in the last second of *samples*."""
    return any(
        is_short(samples[: at + 1], limit_bytes)
        for at, each in enumerate(samples)
        if each.now_seconds >= samples[-1].now_seconds - GROWTH_SECONDS
    )


def judge(death: Death, samples: Sequence[Sample]) -> Verdict:
    """Return why the worker ended; *samples* are its last seconds, the oldest first."""
    if death.wait_status is None:
        return Verdict(Cause.NOT_STARTED, "ended before it began", Sureness.CERTAIN)
    code = os.waitstatus_to_exitcode(death.wait_status)
    if code >= 0:
        return _judge_exit(death, code)
    if -code == signal.SIGKILL:
        return _judge_sigkill(death, samples)
    return _judge_signal(death, -code)


def suspect(death: Death, verdict: Verdict) -> Suspicion | None:
    """Return the request that is to blame for *verdict*; None if none was, or none is known.

    One whose code was running comes first, then the one that took most beyond what was expected of
    it, then the newest. Certain only where the signs agree or no other was in flight.
    """
    requests = death.in_flight.requests
    if not requests or verdict.cause is Cause.NOT_STARTED:
        return None
    if verdict.cause is Cause.SIGNAL and verdict.sureness is Sureness.CERTAIN:
        return None
    if death.program is not None and (starter := _starter(death.program, requests)) is not None:
        return starter
    alone = len(requests) == 1 and not death.in_flight.beyond
    if verdict.cause is Cause.DEADLINE:
        oldest = max(requests, key=lambda each: each.age_seconds)
        return Suspicion(oldest, "it had run for longest", Sureness.LIKELY)
    greediest = max(requests, key=_overgrown_bytes)
    running = next((each for each in requests if each.is_running), None)
    if running is not None:
        others = _overgrown_bytes(greediest) - max(_overgrown_bytes(running), 0)
        # What runs in the worker need not be what has started a program.
        sure = (alone or others < OVERGROWN_BYTES) and death.program is None
        sureness = Sureness.CERTAIN if sure else Sureness.LIKELY
        return Suspicion(running, "its code was running at the end", sureness)
    if _overgrown_bytes(greediest) >= OVERGROWN_BYTES:
        why = "it had grown furthest beyond what was expected of it"
        return Suspicion(greediest, why, Sureness.LIKELY)
    if alone:
        return Suspicion(requests[0], "no other was in flight", Sureness.LIKELY)
    newest = min(requests, key=lambda each: each.age_seconds)
    return Suspicion(newest, "it was the newest; nothing else tells them apart", Sureness.GUESS)


def _starter(program: Program, requests: Sequence[InFlight]) -> Suspicion | None:
    """Return the request that has started *program*; None: none in flight is as old.

    Of several the one begun last, since a program is started soon.
    """
    if program.age_seconds is None:
        return None
    before = [each for each in requests if each.age_seconds >= program.age_seconds - TICK_SECONDS]
    if not before:
        return None
    newest = min(before, key=lambda each: each.age_seconds)
    if len(before) == 1:
        return Suspicion(newest, "no other was in flight when it started", Sureness.LIKELY)
    return Suspicion(newest, "it was the newest when the program started", Sureness.GUESS)


def _overgrown_bytes(request: InFlight) -> int:
    return request.grown_bytes - request.expected_bytes


def _judge_exit(death: Death, code: int) -> Verdict:
    if death.failure is not None:
        text = f"did not start: {death.failure[:_LONGEST_FAILURE]}"
        return Verdict(Cause.NOT_STARTED, text, Sureness.CERTAIN)
    return Verdict(Cause.EXIT, f"ended with status {code}", Sureness.CERTAIN)


def _judge_sigkill(death: Death, samples: Sequence[Sample]) -> Verdict:
    counted = death.kernel_kills or 0
    if death.kill is not None:
        return _judge_our_kill(death, death.kill, counted)
    if counted:
        return _judge_counted_kill(death, samples, counted)
    short = is_short(samples, death.statistics.limit_bytes)
    if death.kernel_kills is None:
        if short:
            text = "was killed by SIGKILL, in all likelihood by the kernel for want of memory"
            evidence = ("the kernel's counter cannot be read here", "nearly no memory was free")
            return Verdict(Cause.OOM, text, Sureness.LIKELY, evidence)
        text = "was killed by SIGKILL from outside (there is no kernel counter to tell by whom)"
        return Verdict(Cause.SIGNAL, text, Sureness.LIKELY, ("enough memory was free",))
    text = "was killed by SIGKILL from outside (the kernel's counter did not move)"
    if not short:
        return Verdict(Cause.SIGNAL, text, Sureness.CERTAIN, ("enough memory was free",))
    return Verdict(Cause.SIGNAL, text, Sureness.LIKELY, ("yet nearly no memory was free",))


def _judge_counted_kill(death: Death, samples: Sequence[Sample], counted: int) -> Verdict:
    """Judge a SIGKILL after the kernel has counted kills, of which it may be one."""
    text = "was killed by the kernel for want of memory"
    limit_bytes, ago = death.statistics.limit_bytes, death.kills_seconds
    if death.program is not None:
        evidence = (_counted(counted), "when it did, this program was gone")
        if not death.rivals:
            return Verdict(Cause.OOM, text, Sureness.LIKELY, evidence)
        doubt = f"so were {death.rivals} more"
        return Verdict(Cause.OOM, text, Sureness.GUESS, (*evidence, doubt))
    doubts = (f"{death.rivals} program(s) had ended as well",) if death.rivals else ()
    full = was_short(samples, limit_bytes)
    if ago == 0 or (ago <= PROMPT_SECONDS and (full or not death.rivals)):
        if ago and _others_held_more(samples, death.worker):
            text = "was killed by SIGKILL, probably by the kernel for want of memory"
            before = f"{_counted(counted)}, {ago:.2g} s before"
            larger = "what is no worker's held more, and may be what was killed"
            return Verdict(Cause.OOM, text, Sureness.LIKELY, (before, *doubts, larger))
        sure = not death.rivals and (ago == 0 or full)
        sureness = Sureness.CERTAIN if sure else Sureness.LIKELY
        return Verdict(Cause.OOM, text, sureness, (_counted(counted), *doubts))
    before = f"{_counted(counted)}, but {ago:.1f} s before"
    if is_short(samples, limit_bytes):
        evidence = (before, *doubts, "nearly no memory was free")
        return Verdict(Cause.OOM, text, Sureness.LIKELY, evidence)
    text = "was killed by SIGKILL from outside (what the kernel had killed was another process)"
    return Verdict(Cause.SIGNAL, text, Sureness.LIKELY, (before, *doubts, "enough memory was free"))


def _others_held_more(samples: Sequence[Sample], worker: int | None) -> bool:
    """Return whether, when most was used of late, what is no worker's held more than this one.

    The kernel takes the largest process, which then was hardly this one.
    """
    if worker is None or not samples:
        return False
    since = samples[-1].now_seconds - GROWTH_SECONDS
    fullest = max((s for s in samples if s.now_seconds >= since), key=lambda s: s.used_bytes)
    return fullest.used_bytes - sum(fullest.private_bytes) > fullest.private_of(worker)


def _judge_our_kill(death: Death, kill: Kill, counted: int) -> Verdict:
    # The order of two kills cannot be told; both would have hit the same worker.
    evidence = (f"{_counted(counted)} as well, and may have come first",) if counted else ()
    sureness = Sureness.LIKELY if counted else Sureness.CERTAIN
    if kill.reason is KillReason.BRAKE:
        memory = f" of {kill.memory} memory" if kill.memory else ""
        text = (
            f"was braked: it grew by {format_bytes(kill.grown_bytes)}{memory} in"
            f" {kill.grown_seconds:.2g} s and free memory would have run out in"
            f" {kill.room_seconds * 1000:.0f} ms"
        )
        return Verdict(Cause.BRAKE, text, sureness, evidence)
    if kill.reason is KillReason.OVERDUE_START:
        text = f"was ended: {death.failure or 'it was not ready in time'}"
        return Verdict(Cause.NOT_STARTED, text, sureness, evidence)
    aim = "stop" if kill.reason is KillReason.STOP_DEADLINE else "be replaced"
    text = f"was ended: it had not finished when its time to {aim} was up"
    return Verdict(Cause.DEADLINE, text, sureness, evidence)


def _judge_signal(death: Death, number: int) -> Verdict:
    name = _signal_name(number)
    if number not in _CRASHES:
        return Verdict(Cause.SIGNAL, f"was ended by {name} from outside", Sureness.CERTAIN)
    if death.memory_errors and number in (signal.SIGABRT, signal.SIGSEGV):
        evidence = (f"{death.memory_errors} request(s) had run out of memory in it before",)
        verb = "was ended by" if number == signal.SIGABRT else "crashed with"
        text = f"{verb} {name} after allocations had failed: native code that cannot handle that"
        return Verdict(Cause.FAILED_ALLOCATION, text, Sureness.LIKELY, evidence)
    return Verdict(Cause.CRASH, f"crashed with {name}", Sureness.CERTAIN)


def _counted(kills: int) -> str:
    return f"the kernel's count of processes killed for want of memory rose by {kills}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
