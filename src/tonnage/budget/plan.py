"""The plan: one memory limit, divided into lines that add up to it.

Promises: `make_plan` is pure arithmetic. The bytes of a plan's lines sum to its limit, every line
says whether its figure was measured, calculated or configured, and what cannot fit is refused with
the whole sum and what to change.

Does not: find the limit or the CPUs (`tonnage.host`), measure an app (`tonnage.server.importcost`),
hold the formulas (`tonnage.budget.sizes`), print (`tonnage.budget.receipt`), or watch what is
really used later (`tonnage.governor`).

How the limit is divided, from the top down:

    limit
      reserve            the free floor (or what lies above EXHAUSTED), and the guard
      ------------------ the ceiling: above it new work waits
      supervisor, zygote, workers, threads, queue, stores
      room for requests  the rest, which admission hands out
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tonnage.budget.sizes import (
    ASSUMED_PRIVATE_ANON_BYTES,
    DIRTIED_SHARE,
    LEAST_ROOM_BYTES,
    SUPERVISOR_BYTES,
    THREAD_BYTES,
    WAITING_REQUEST_BYTES,
    WORKER_BASE_BYTES,
    AppSize,
    How,
    Parts,
    Wishes,
    divide,
    fresh_worker_bytes,
    guard_bytes,
)
from tonnage.errors import PlanError
from tonnage.units import GIB, MIB, format_bytes

__all__ = ["AppSize", "How", "Line", "Plan", "Wishes", "make_plan"]

LEAST_LIMIT_BYTES = 32 * MIB
"""Under less not even the processes fit, whatever the wishes; the sum would only confuse."""

SCARCE_ROOM_BYTES = 64 * MIB
"""With less room for requests a plan carries a warning, and gets no second worker by default."""

DEFAULT_ROOM_SHARE = 0.5
"""A number of workers that we choose leaves at least this share of the limit to requests."""

WISHED_ROOM_SHARE = 0.25
"""The share where clustering is on, or a platform that does not know the app names the number."""

UNKNOWN_APP_CLUSTER_BYTES = GIB
"""Below this limit an app of unknown size gets one worker."""

SCARCE_WORKER_BYTES = 16 * MIB
"""With less than this of `--worker-memory` left to its requests a plan carries a warning."""

LIMIT_STEP_BYTES = 16 * MIB
"""A limit that a refusal suggests is a multiple of this."""

_NAMED_STORES = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the receipt; `note` says in a short phrase where the figure comes from."""

    key: str
    name: str
    bytes: int
    how: How
    note: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A limit and who gets what of it.

    `threads` is per worker; `queue_requests` counts the whole server.
    """

    limit_bytes: int
    limit_source: str
    cpus: float
    workers: int
    threads: int
    queue_requests: int
    lines: tuple[Line, ...]
    warnings: tuple[str, ...]

    def line(self, key: str) -> Line:
        """Return the line called *key*; raises KeyError where there is none."""
        for line in self.lines:
            if line.key == key:
                return line
        raise KeyError(key)

    @property
    def room_bytes(self) -> int:
        """What requests may allocate together, while the stores are full."""
        return self.line("room").bytes

    @property
    def ceiling_bytes(self) -> int:
        """The most that everything together may use before new work waits."""
        return self.limit_bytes - self.line("reserve").bytes

    @property
    def worker_bytes(self) -> int:
        """What one idle worker holds of its own, without its pool threads."""
        return self.line("workers").bytes // self.workers


def make_plan(
    limit_bytes: int, limit_source: str, cpus: float, app: AppSize | None, wishes: Wishes
) -> Plan:
    """Divide *limit_bytes* among the processes, the queue and the requests.

    *app* is None while its size is unknown; usual sizes are then assumed. The number of workers
    is the one wished for, or else the smaller of what the CPUs can use and what the memory holds.

    Raises:
        PlanError: if less than 32 MB would be left as room for requests, or a wish is no number
            that can be served. The message has the sum and what to change.
    """
    _refuse_nonsense(limit_bytes, wishes)
    _refuse_tight_workers(app, wishes)
    parts = divide(limit_bytes, wishes.exhausted_bytes, app, wishes)
    workers, warnings = _choose_workers(parts, cpus, app, wishes)
    if not parts.fits(workers):
        raise PlanError(_refusal(parts, workers, app, wishes, limit_source))
    return Plan(
        limit_bytes=limit_bytes,
        limit_source=limit_source,
        cpus=cpus,
        workers=workers,
        threads=wishes.threads,
        queue_requests=parts.queue_requests,
        lines=_lines(parts, workers, app, wishes),
        warnings=(
            *warnings,
            *_doubts(parts, workers, cpus),
            *_doubts_about_worker_memory(limit_bytes, app, wishes),
            *_doubts_about_recycling(parts, wishes),
            *_doubts_about_stores(parts, workers),
            *_doubts_about_jobs(parts, workers, wishes),
        ),
    )


def _choose_workers(
    parts: Parts, cpus: float, app: AppSize | None, wishes: Wishes
) -> tuple[int, tuple[str, ...]]:
    """Return how many workers to start, and warnings; at least 1, whether that fits or not."""
    wished = wishes.workers
    if wishes.clustering is False:
        if wished is None or wished == 1:
            return 1, ()
        return 1, (f"{_asks_for(wishes)}; 1 is started: clustering is switched off",)
    if wished is None:
        return _usual_workers(parts, cpus, app, wishes.clustering), ()
    if wishes.workers_strict:
        return wished, ()
    room_bytes = _room_to_leave(parts, WISHED_ROOM_SHARE, LEAST_ROOM_BYTES)
    workers = max(1, min(wished, parts.most_workers(room_bytes)))
    if workers == wished:
        return workers, ()
    why = f"more would leave less than {_mb(room_bytes)} as room for requests"
    if wished < 1:
        why = "fewer cannot serve"
    return workers, (f"{_asks_for(wishes)}; {workers} {_are(workers)} started: {why}",)


def _usual_workers(parts: Parts, cpus: float, app: AppSize | None, clustering: bool | None) -> int:
    if clustering:
        room_bytes = _room_to_leave(parts, WISHED_ROOM_SHARE, LEAST_ROOM_BYTES)
    elif app is None and parts.limit_bytes < UNKNOWN_APP_CLUSTER_BYTES:
        return 1
    else:
        room_bytes = _room_to_leave(parts, DEFAULT_ROOM_SHARE, SCARCE_ROOM_BYTES)
    return max(1, min(math.floor(cpus), parts.most_workers(room_bytes)))


def _room_to_leave(parts: Parts, share: float, least_bytes: int) -> int:
    return max(least_bytes, math.ceil(parts.limit_bytes * share))


def _doubts(parts: Parts, workers: int, cpus: float) -> list[str]:
    """What is allowed, but probably not what the user wants."""
    doubts = []
    if workers > max(1, math.ceil(cpus)):
        doubts.append(
            f"{workers} workers share {cpus:g} {'CPU' if cpus <= 1 else 'CPUs'}:"
            " more workers than CPUs cost memory and seldom serve faster"
        )
    room_bytes = parts.room_bytes(workers)
    if room_bytes < SCARCE_ROOM_BYTES:
        doubts.append(f"only {_mb(room_bytes)} are left as room for requests")
    return doubts


def _doubts_about_worker_memory(limit_bytes: int, app: AppSize | None, wishes: Wishes) -> list[str]:
    most_bytes = wishes.worker_memory_bytes
    if most_bytes is None:
        return []
    if most_bytes >= limit_bytes:
        return [
            f"--worker-memory {_mb(most_bytes)} is not below the limit of {_mb(limit_bytes)}:"
            " it bounds nothing"
        ]
    fresh_bytes = fresh_worker_bytes(app)
    if most_bytes - fresh_bytes >= SCARCE_WORKER_BYTES:
        return []
    left = f"leaves {_mb(max(0, most_bytes - fresh_bytes))} to the requests of a worker"
    how = "is taken to hold" if app is None else "holds"
    return [
        f"--worker-memory {_mb(most_bytes)} {left}: before the first it {how} {_mb(fresh_bytes)}"
    ]


def _doubts_about_recycling(parts: Parts, wishes: Wishes) -> list[str]:
    above_bytes = wishes.recycle_above_bytes
    if above_bytes is None or above_bytes > parts.worker_bytes:
        return []
    return [
        f"--recycle-above {_mb(above_bytes)} is not more than the {_mb(parts.worker_bytes)} that a"
        " fresh worker may hold of its own: recycling could not bring it below"
    ]


def _doubts_about_jobs(parts: Parts, workers: int, wishes: Wishes) -> list[str]:
    job_bytes, room_bytes = wishes.job_memory_bytes, parts.room_bytes(workers)
    if job_bytes is None or job_bytes <= room_bytes:
        return []
    return [
        f"--job-memory {_mb(job_bytes)} is more than the {_mb(room_bytes)} that are left for"
        " requests and jobs: such a job is refused; allow it less, or raise the limit"
    ]


def _lines(parts: Parts, workers: int, app: AppSize | None, wishes: Wishes) -> tuple[Line, ...]:
    zygote_how, zygote_note = _zygote_origin(app, wishes)
    worker_how, worker_note = _worker_origin(app, wishes)
    each = "" if workers == 1 else f"{workers} x {_mb(parts.worker_bytes)}: "
    pools = f"{wishes.threads}" if workers == 1 else f"{workers} x {wishes.threads}"
    threads_note = f"{pools} x {format_bytes(THREAD_BYTES)} of stack and arena"
    queue_how: How = "calculated" if wishes.queue_requests is None else "configured"
    waiting = f"{parts.queue_requests} waiting requests x {format_bytes(WAITING_REQUEST_BYTES)}"
    threads_bytes, stores_bytes = parts.threads_bytes(workers), parts.stores_bytes(workers)
    stores_how: How = "calculated" if _doubts_about_stores(parts, workers) else "configured"
    alerter = Line("alerter", "alerts", parts.alerter_bytes, "calculated", "the process that sends")
    return (
        Line(
            "reserve",
            "reserve for the kernel and health",
            parts.reserve_bytes,
            "calculated",
            _reserve_note(parts.limit_bytes, wishes),
        ),
        Line("supervisor", "supervisor", SUPERVISOR_BYTES, "calculated", "never imports the app"),
        Line("zygote", "zygote", parts.zygote_bytes, zygote_how, zygote_note),
        *((alerter,) if parts.alerter_bytes else ()),
        Line(
            "workers",
            _workers(workers),
            workers * parts.worker_bytes,
            worker_how,
            each + worker_note,
        ),
        Line("threads", "threads", threads_bytes, "calculated", threads_note),
        Line("queue", "queue", parts.queue_bytes, queue_how, waiting),
        Line("stores", "stores", stores_bytes, stores_how, _stores_note(app, workers)),
        Line(
            "room",
            "room for requests",
            parts.room_bytes(workers) - stores_bytes,
            "calculated",
            "the rest",
        ),
    )


def _stores_note(app: AppSize | None, workers: int) -> str:
    if app is None:
        return "not known before the import"
    if not app.stores:
        return "the import makes none"
    largest = sorted(app.stores, key=lambda store: -store[1])
    named = ", ".join(f"{name} {_mb(size_bytes)}" for name, size_bytes in largest[:_NAMED_STORES])
    others = len(largest) - _NAMED_STORES
    each = "at most " if workers == 1 else f"at most, in each of {workers} workers: "
    return each + named + (f" and {others} more" if others > 0 else "")


def _doubts_about_stores(parts: Parts, workers: int) -> list[str]:
    asked_bytes, planned_bytes = workers * parts.store_bytes, parts.stores_bytes(workers)
    if asked_bytes <= planned_bytes:
        return []
    each = "" if workers == 1 else f" in {workers} workers together"
    return [
        f"caches and writers may hold {_mb(asked_bytes)}{each}, and {_mb(planned_bytes)} are left:"
        " they give way when memory is short, but lower their max_bytes to keep what they hold"
    ]


def _reserve_note(limit_bytes: int, wishes: Wishes) -> str:
    floor = f"{_mb(wishes.free_floor_bytes)} kept free"
    if wishes.exhausted_bytes < limit_bytes - wishes.free_floor_bytes:
        floor = f"all above EXHAUSTED at {_mb(wishes.exhausted_bytes)}"
    return f"{floor}, and {_mb(guard_bytes(limit_bytes))} of guard"


def _zygote_origin(app: AppSize | None, wishes: Wishes) -> tuple[How, str]:
    if not wishes.preload:
        return "configured", "none: each worker imports the app itself"
    if app is None:
        return "calculated", "assumed, as the app is not measured"
    return app.how, f"after importing the app, which took {app.seconds:.1f} s"


def _worker_origin(app: AppSize | None, wishes: Wishes) -> tuple[How, str]:
    base = _mb(WORKER_BASE_BYTES)
    if not wishes.preload:
        return "calculated", f"{base} + the whole imported app"
    if app is not None and app.worker_own_bytes is not None:
        return app.how, "own pages of a forked worker"
    anon_bytes = ASSUMED_PRIVATE_ANON_BYTES if app is None else app.private_anon_bytes
    dirtied = f"{DIRTIED_SHARE:.0%} of the zygote's private {format_bytes(anon_bytes)}"
    return "calculated", f"{base} + {dirtied}"


def _refusal(
    parts: Parts, workers: int, app: AppSize | None, wishes: Wishes, limit_source: str
) -> str:
    """Return the sum that does not fit, and what to change, in one line."""
    terms = [
        f"reserve {_mb(parts.reserve_bytes)}",
        f"supervisor {_mb(SUPERVISOR_BYTES)}",
        f"zygote {_mb(parts.zygote_bytes)}",
        *((f"alerts {_mb(parts.alerter_bytes)}",) if parts.alerter_bytes else ()),
        ("worker " if workers == 1 else f"{workers} workers x ") + _mb(parts.worker_bytes),
        f"threads {_mb(parts.threads_bytes(workers))}",
        f"queue {_mb(parts.queue_bytes)}",
        f"room for requests {_mb(LEAST_ROOM_BYTES)}",
    ]
    advice = []
    fitting = parts.most_workers(LEAST_ROOM_BYTES)
    if 0 < fitting < workers:
        advice.append(f"--workers {fitting}")
    enough_bytes = _enough_bytes(parts, workers, app, wishes)
    if enough_bytes is None:
        advice.append("a higher --exhausted-at")
    else:
        advice.append(f"--memory {enough_bytes // MIB}M in a container that has as much")
    return (
        f"{_workers(workers)} cannot fit: {' + '.join(terms)} = {_mb(parts.needed_bytes(workers))},"
        f" but the limit is {_mb(parts.limit_bytes)} ({limit_source}): use {', or '.join(advice)}"
    )


def _enough_bytes(parts: Parts, workers: int, app: AppSize | None, wishes: Wishes) -> int | None:
    """Return a limit in which *workers* fit with EXHAUSTED at the same share, or None."""
    share = wishes.exhausted_bytes / parts.limit_bytes
    # The reserve and the queue grow with the limit, so adding what is missing once is not enough.
    # Each round leaves only their share of what was added; where 40 rounds do not end it,
    # EXHAUSTED is set so low that no limit would do.
    for _ in range(40):
        steps = -(-parts.needed_bytes(workers) // LIMIT_STEP_BYTES)
        limit_bytes = steps * LIMIT_STEP_BYTES
        parts = divide(limit_bytes, int(limit_bytes * share), app, wishes)
        if parts.fits(workers):
            return limit_bytes
    return None


def _refuse_nonsense(limit_bytes: int, wishes: Wishes) -> None:
    """Refuse figures with which the books would lie; the settings catch most of them earlier."""
    if limit_bytes <= 0:
        raise PlanError(f"{limit_bytes} bytes cannot be divided: use for example --memory 512M")
    if limit_bytes < LEAST_LIMIT_BYTES:
        raise PlanError(
            f"a limit of {format_bytes(limit_bytes)} holds no server: use for example --memory 512M"
        )
    if wishes.workers_strict and wishes.workers is not None and wishes.workers < 1:
        raise PlanError(f"{_asks_for(wishes)}: use 1 or more")
    if wishes.threads < 1:
        raise PlanError(f"{wishes.threads} threads cannot serve: use --threads 1 or more")
    if wishes.queue_requests is not None and wishes.queue_requests < 0:
        raise PlanError(f"{wishes.queue_requests} cannot wait: use --queue-requests 0 or more")
    if wishes.free_floor_bytes < 0:
        raise PlanError("less than nothing cannot be kept free: use --free-floor 0 or more")


def _refuse_tight_workers(app: AppSize | None, wishes: Wishes) -> None:
    """Refuse a bound that a worker meets before its first request: none would be let in."""
    most_bytes, fresh_bytes = wishes.worker_memory_bytes, fresh_worker_bytes(app)
    # Of an app that is not measured this is not known; there it is a warning.
    if app is None or most_bytes is None or most_bytes >= fresh_bytes:
        return
    enough_bytes = -(-(fresh_bytes + LEAST_ROOM_BYTES) // LIMIT_STEP_BYTES) * LIMIT_STEP_BYTES
    raise PlanError(
        f"--worker-memory {_mb(most_bytes)} is less than a worker holds before its first request:"
        f" {_mb(app.private_anon_bytes)} of the imported app + {_mb(WORKER_BASE_BYTES)} ="
        f" {_mb(fresh_bytes)}: use for example --worker-memory {enough_bytes // MIB}M"
    )


def _asks_for(wishes: Wishes) -> str:
    return f"{wishes.workers_source} asks for {_workers(wishes.workers or 0)}"


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _mb(size_bytes: int) -> str:
    """Write every term of a sum in one unit; `format_bytes` would change to GB on the way."""
    return f"{size_bytes / MIB:,.1f}".removesuffix(".0") + " MB"
