"""What each part of a server takes: the formulas, their constants, and where those come from.

Promises: `divide` is pure arithmetic on a limit, the size of the app and the wishes. All parts but
the room for requests are rounded up to whole MB, so that a receipt adds up as it is printed.

Does not: choose the number of workers or refuse anything; that is `tonnage.budget.plan`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tonnage.units import KIB, MIB

How = Literal["measured", "calculated", "configured"]

SUPERVISOR_BYTES = 12 * MIB
"""What the supervisor holds, which never imports the app: 9 to 12 MB of PSS were measured."""

ALERTER_BYTES = 10 * MIB
"""The process that sends alerts, if there is one: 4.7 MB were measured for http, 9.4 for https."""

ASSUMED_ZYGOTE_BYTES = 40 * MIB
"""PSS of a zygote with a FastAPI app of the usual size; stands in until the app is measured."""

ASSUMED_PRIVATE_ANON_BYTES = 24 * MIB
"""Private anonymous pages of that same zygote."""

WORKER_BASE_BYTES = 6 * MIB
"""A forked worker's own pages: event loop, HTTP server, interpreter (measured 5.6 MB, FastAPI)."""

DIRTIED_SHARE = 0.12
"""Share of the zygote's private anonymous pages that a worker copies, by writing reference counts.

With `gc.freeze` before the fork, a whole tree of four workers was measured at 68 to 74 MB of PSS
with FastAPI alone (81 by this formula), and at 131 MB with pandas and SQLAlchemy (about 126).
"""

THREAD_BYTES = 100 * KIB
"""What one pool thread touches of its stack and of its malloc arena."""

WAITING_REQUEST_BYTES = 32 * KIB
"""One waiting request: connection, task and headers. 8 KB were measured; more headers cost more."""

GUARD_SHARE = 0.01
GUARD_BYTES = (4 * MIB, 64 * MIB)
"""The guard below the free floor, and its least and most.

It holds what can grow between two samples, kernel pages, and the answer to a health check. At
512 MB, floor and guard put the ceiling at 95.7 % of the limit, where an overload of 128 clients
with 8 MB each ran without a kernel kill.
"""

QUEUE_SHARE = 0.02
QUEUE_REQUESTS = (128, 1024)
"""Requests that may wait by default: as many as 2 % of the limit holds, within these bounds."""

LEAST_ROOM_BYTES = 32 * MIB
"""With less room for requests a plan is refused: one ordinary upload or query would exhaust it."""


@dataclass(frozen=True, slots=True)
class AppSize:
    """What importing the app costs.

    `zygote_bytes` is the PSS of the process after the import, `private_anon_bytes` its private
    anonymous part. `worker_own_bytes` is what a forked worker holds of its own, or None where no
    worker was measured. `seconds` is how long the import took. `stores` are the caches, writers and
    the like that it has made, each with what it may hold in every worker, in bytes.
    """

    zygote_bytes: int
    private_anon_bytes: int
    worker_own_bytes: int | None
    how: How
    seconds: float
    stores: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the settings ask of the plan; None means: the plan chooses.

    `workers_source` names who asks, as messages call it: `--workers`, `WEB_CONCURRENCY`. With
    `workers_strict` a number that does not fit is refused; without it (a platform's guess) it is
    lowered, with a warning. `queue_requests` counts the whole server. `alerts` says whether a
    process sends them. `worker_memory_bytes` bounds one worker's private memory, what it took over
    from the imported app included; `recycle_above_bytes` is what it may hold of its own.
    `job_memory_bytes` is what an isolated job may hold, where somebody has said so.
    """

    workers: int | None
    workers_source: str
    workers_strict: bool
    clustering: bool | None
    threads: int
    queue_requests: int | None
    free_floor_bytes: int
    exhausted_bytes: int
    preload: bool
    alerts: bool = False
    worker_memory_bytes: int | None = None
    recycle_above_bytes: int | None = None
    job_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """The sizes that follow from a limit, an app and the wishes, for any number of workers.

    `worker_bytes` is one worker without its threads; `pool_bytes` is its threads, not rounded.
    `store_bytes` is what the app's stores may hold in one worker. They give way when memory is
    short, so they neither refuse a plan nor cost a worker its place: where the rest is less than
    they may hold, they get what is left above the least room for requests.
    """

    limit_bytes: int
    reserve_bytes: int
    zygote_bytes: int
    alerter_bytes: int
    worker_bytes: int
    pool_bytes: int
    queue_requests: int
    queue_bytes: int
    store_bytes: int = 0

    def stores_bytes(self, workers: int) -> int:
        """What the stores of *workers* may hold, as far as it fits."""
        left = (self.room_bytes(workers) - LEAST_ROOM_BYTES) // MIB * MIB
        return min(_up(workers * self.store_bytes), max(0, left))

    def threads_bytes(self, workers: int) -> int:
        """All pool threads of *workers*, rounded up to whole MB."""
        return _up(workers * self.pool_bytes)

    def room_bytes(self, workers: int) -> int:
        """The rest of the limit, for requests and stores; negative when the parts exceed it."""
        server = SUPERVISOR_BYTES + self.zygote_bytes + self.alerter_bytes
        fixed = self.reserve_bytes + server + self.queue_bytes
        return self.limit_bytes - fixed - workers * self.worker_bytes - self.threads_bytes(workers)

    def needed_bytes(self, workers: int) -> int:
        """The whole sum, with the least room for requests."""
        return self.limit_bytes - self.room_bytes(workers) + LEAST_ROOM_BYTES

    def fits(self, workers: int) -> bool:
        """Whether *workers* leave the least room for requests."""
        return self.room_bytes(workers) >= LEAST_ROOM_BYTES

    def most_workers(self, room_bytes: int) -> int:
        """The largest number of workers that leaves *room_bytes* for requests, or 0."""
        spare = self.room_bytes(0) - room_bytes
        workers = max(0, spare // (self.worker_bytes + self.pool_bytes))
        # The threads' line is rounded up to whole MB, which can cost a worker the last place.
        while workers and self.room_bytes(workers) < room_bytes:
            workers -= 1
        return workers


def divide(limit_bytes: int, exhausted_bytes: int, app: AppSize | None, wishes: Wishes) -> Parts:
    """Return the parts of *limit_bytes*; usual sizes are assumed while *app* is None."""
    queue_requests = wishes.queue_requests
    if queue_requests is None:
        queue_requests = _between(QUEUE_REQUESTS, limit_bytes * QUEUE_SHARE / WAITING_REQUEST_BYTES)
    zygote_bytes, anon_bytes, own_bytes = ASSUMED_ZYGOTE_BYTES, ASSUMED_PRIVATE_ANON_BYTES, None
    if app is not None:
        zygote_bytes, anon_bytes = app.zygote_bytes, app.private_anon_bytes
        own_bytes = app.worker_own_bytes
    if not wishes.preload:
        # Nothing is shared: each worker imports the app for itself, and there is no zygote.
        worker_bytes, zygote_bytes = zygote_bytes + WORKER_BASE_BYTES, 0
    elif own_bytes is not None:
        worker_bytes = own_bytes
    else:
        worker_bytes = WORKER_BASE_BYTES + math.ceil(anon_bytes * DIRTIED_SHARE)
    return Parts(
        limit_bytes=limit_bytes,
        reserve_bytes=_reserve_bytes(limit_bytes, exhausted_bytes, wishes.free_floor_bytes),
        zygote_bytes=_up(zygote_bytes),
        alerter_bytes=ALERTER_BYTES if wishes.alerts else 0,
        worker_bytes=_up(worker_bytes),
        pool_bytes=wishes.threads * THREAD_BYTES,
        queue_requests=queue_requests,
        queue_bytes=_up(queue_requests * WAITING_REQUEST_BYTES),
        store_bytes=sum(size_bytes for _, size_bytes in app.stores) if app is not None else 0,
    )


def fresh_worker_bytes(app: AppSize | None) -> int:
    """Return the private memory of a worker that has served nobody, as `--worker-memory` counts it.

    Whether the app was imported before the fork or by the worker itself: its pages count.
    """
    anon_bytes = ASSUMED_PRIVATE_ANON_BYTES if app is None else app.private_anon_bytes
    return _up(anon_bytes + WORKER_BASE_BYTES)


def _reserve_bytes(limit_bytes: int, exhausted_bytes: int, free_floor_bytes: int) -> int:
    highest = min(exhausted_bytes, limit_bytes - free_floor_bytes)
    return _up(limit_bytes - highest + guard_bytes(limit_bytes))


def guard_bytes(limit_bytes: int) -> int:
    """Return the guard below the free floor for a limit, in bytes."""
    return _between(GUARD_BYTES, limit_bytes * GUARD_SHARE)


def _up(size_bytes: int) -> int:
    return -(-size_bytes // MIB) * MIB


def _between(bounds: tuple[int, int], value: float) -> int:
    least, most = bounds
    return min(most, max(least, int(value)))
