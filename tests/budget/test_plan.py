"""Plans: what a limit, an app and the wishes add up to, and what is refused."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from tests.budget.wishes import NO_WISHES

from tonnage.budget.plan import AppSize, Plan, Wishes, make_plan
from tonnage.errors import PlanError, UsageError
from tonnage.units import GIB, MIB

SMALL_APP = AppSize(
    zygote_bytes=40 * MIB,
    private_anon_bytes=24 * MIB,
    worker_own_bytes=None,
    how="measured",
    seconds=0.6,
)
PANDAS_APP = replace(SMALL_APP, zygote_bytes=112 * MIB, private_anon_bytes=84 * MIB)
HUGE_APP = replace(SMALL_APP, zygote_bytes=330 * MIB, private_anon_bytes=250 * MIB)
FORKED_APP = replace(SMALL_APP, worker_own_bytes=8 * MIB)


def plan_for(
    limit_bytes: int,
    app: AppSize | None = None,
    cpus: float = 2,
    *,
    wishes: Wishes = NO_WISHES,
) -> Plan:
    """Plan with EXHAUSTED at the usual 98 %, unless *wishes* put it elsewhere."""
    exhausted_bytes = wishes.exhausted_bytes or limit_bytes * 98 // 100
    return make_plan(
        limit_bytes,
        "cgroup v2 memory.max of /app",
        cpus,
        app,
        replace(wishes, exhausted_bytes=exhausted_bytes),
    )


def from_platform(workers: int) -> Wishes:
    """Wish for *workers* as a platform does that does not know the app."""
    return replace(
        NO_WISHES, workers=workers, workers_source="WEB_CONCURRENCY", workers_strict=False
    )


def test_the_usual_container_is_divided_to_the_last_mb() -> None:
    """512 MB with an app of unknown size: each line has the figure that the formulas give."""
    plan = plan_for(512 * MIB)

    assert [(line.key, line.bytes // MIB) for line in plan.lines] == [
        ("reserve", 22),
        ("supervisor", 12),
        ("zygote", 40),
        ("workers", 9),
        ("threads", 2),
        ("queue", 11),
        ("stores", 0),
        ("room", 416),
    ]
    assert (plan.workers, plan.queue_requests, plan.warnings) == (1, 327, ())


LIMITS = (128 * MIB, 256 * MIB, 500_000_000, 512 * MIB + 4097, GIB, 3 * GIB, 64 * GIB)
APPS = (None, SMALL_APP, replace(PANDAS_APP, zygote_bytes=61_234_567), HUGE_APP)
WISHES = (
    NO_WISHES,
    replace(NO_WISHES, preload=False),
    replace(NO_WISHES, clustering=True),
    replace(NO_WISHES, queue_requests=77, threads=3),
    replace(NO_WISHES, free_floor_bytes=0),
    from_platform(9),
)


def test_the_lines_always_sum_to_the_limit() -> None:
    """Whatever the limit, the app, the processors and the wishes: no byte is lost or invented."""
    made = 0
    for limit, app, cpus, wishes in itertools.product(LIMITS, APPS, (0.5, 2, 7.5), WISHES):
        try:
            plan = plan_for(limit, app, cpus, wishes=wishes)
        except PlanError:
            continue
        made += 1
        assert sum(line.bytes for line in plan.lines) == limit
        assert all(line.bytes >= 0 and line.note for line in plan.lines)
        assert plan.room_bytes >= 32 * MIB
        assert plan.line("workers").bytes == plan.workers * plan.worker_bytes
        # What idles and what requests may take fill the part below the ceiling, no more.
        assert plan.ceiling_bytes == sum(line.bytes for line in plan.lines[1:])
    assert made > 300


@pytest.mark.parametrize(
    ("limit_bytes", "exhausted_bytes", "free_floor_bytes", "ceiling_mb"),
    [
        (512 * MIB, 512 * MIB * 98 // 100, 16 * MIB, 490),  # the floor binds; 95.7 %
        (256 * MIB, 256 * MIB * 98 // 100, 16 * MIB, 236),
        (GIB, GIB * 98 // 100, 16 * MIB, 993),  # from here on the percentage binds
        (512 * MIB, 400 * MIB, 16 * MIB, 394),
        (512 * MIB, 600 * MIB, 64 * MIB, 442),  # a mark above the limit is no mark
        (64 * GIB, 64 * GIB * 98 // 100, 16 * MIB, 64 * 1024 - 1375),  # the guard stops at 64 MB
    ],
)
def test_the_ceiling_lies_a_guard_below_exhausted_and_the_free_floor(
    limit_bytes: int, exhausted_bytes: int, free_floor_bytes: int, ceiling_mb: int
) -> None:
    """New work waits before EXHAUSTED is reached and before the free floor is touched."""
    wishes = replace(NO_WISHES, exhausted_bytes=exhausted_bytes, free_floor_bytes=free_floor_bytes)

    assert plan_for(limit_bytes, wishes=wishes).ceiling_bytes == ceiling_mb * MIB


@pytest.mark.parametrize(
    ("limit_bytes", "app", "cpus", "clustering", "workers"),
    [
        (512 * MIB, None, 4, None, 1),  # size unknown, below 1 GB
        (GIB, None, 4, None, 4),
        (512 * MIB, SMALL_APP, 2, None, 2),  # the CPUs bind
        (512 * MIB, SMALL_APP, 0.5, None, 1),
        (512 * MIB, SMALL_APP, 2.9, None, 2),  # a third process would only wait for the quota
        (512 * MIB, PANDAS_APP, 8, None, 5),  # the memory binds: half of it is for requests
        (512 * MIB, PANDAS_APP, 16, True, 12),  # a quarter, since more are wished for
        (512 * MIB, None, 4, True, 4),
        (512 * MIB, HUGE_APP, 8, None, 1),
        (8 * GIB, SMALL_APP, 8, False, 1),
    ],
)
def test_workers_by_default_are_what_the_cpus_use_and_the_memory_holds(
    limit_bytes: int, app: AppSize | None, cpus: float, clustering: bool | None, workers: int
) -> None:
    """One process, unless both the processors and the measured size speak for more."""
    wishes = replace(NO_WISHES, clustering=clustering)

    assert plan_for(limit_bytes, app, cpus, wishes=wishes).workers == workers


def test_a_worker_counts_by_its_own_pages_not_by_its_resident_size() -> None:
    """A forked worker shares the app: 6 MB and 12 % of what reference counts can dirty."""
    plan = plan_for(512 * MIB, PANDAS_APP)

    assert plan.worker_bytes == 17 * MIB  # 6 + 0.12 x 84 = 16.1
    assert plan.line("workers").how == "calculated"
    assert plan.line("zygote").how == "measured"


def test_a_measured_worker_replaces_the_formula() -> None:
    """Where a worker was measured, its figure is used and called measured."""
    plan = plan_for(512 * MIB, replace(SMALL_APP, worker_own_bytes=13 * MIB))

    assert plan.worker_bytes == 13 * MIB
    assert plan.line("workers").how == "measured"


def test_without_preload_every_worker_holds_the_whole_app() -> None:
    """Nothing is shared then: no zygote, and the import is paid by each worker."""
    plan = plan_for(512 * MIB, PANDAS_APP, wishes=replace(NO_WISHES, preload=False))

    assert plan.line("zygote").bytes == 0
    assert plan.worker_bytes == 118 * MIB
    assert plan.workers == 1


@pytest.mark.parametrize(
    ("key", "app", "wishes", "how", "note"),
    [
        ("reserve", SMALL_APP, {}, "calculated", "16 MB kept free, and 5.1 MB of guard"),
        (
            "reserve",
            SMALL_APP,
            {"exhausted_bytes": 400 * MIB},
            "calculated",
            "all above EXHAUSTED at 400 MB, and 5.1 MB of guard",
        ),
        ("zygote", SMALL_APP, {}, "measured", "after importing the app, which took 0.6 s"),
        ("zygote", None, {}, "calculated", "assumed, as the app is not measured"),
        (
            "zygote",
            SMALL_APP,
            {"preload": False},
            "configured",
            "none: each worker imports the app itself",
        ),
        ("alerter", SMALL_APP, {"alerts": True}, "calculated", "the process that sends"),
        (
            "workers",
            SMALL_APP,
            {},
            "calculated",
            "2 x 9 MB: 6 MB + 12% of the zygote's private 24 MB",
        ),
        ("workers", None, {}, "calculated", "6 MB + 12% of the zygote's private 24 MB"),
        ("workers", FORKED_APP, {}, "measured", "2 x 8 MB: own pages of a forked worker"),
        (
            "workers",
            SMALL_APP,
            {"preload": False},
            "calculated",
            "2 x 46 MB: 6 MB + the whole imported app",
        ),
        ("threads", None, {}, "calculated", "16 x 100 KB of stack and arena"),
        ("queue", None, {}, "calculated", "327 waiting requests x 32 KB"),
        ("queue", None, {"queue_requests": 7}, "configured", "7 waiting requests x 32 KB"),
        ("stores", None, {}, "configured", "not known before the import"),
        ("stores", SMALL_APP, {}, "configured", "the import makes none"),
        ("room", None, {}, "calculated", "the rest"),
    ],
)
def test_each_line_says_where_its_figure_comes_from(
    key: str, app: AppSize | None, wishes: dict[str, Any], how: str, note: str
) -> None:
    """Measured, calculated of what, or configured."""
    line = plan_for(512 * MIB, app, wishes=replace(NO_WISHES, **wishes)).line(key)

    assert (line.how, line.note) == (how, note)


def test_the_process_that_sends_alerts_has_a_line() -> None:
    """Where there is one; the room is less by that."""
    without, plan = (
        plan_for(512 * MIB, wishes=replace(NO_WISHES, alerts=alerts)) for alerts in (False, True)
    )

    assert [line.key for line in plan.lines[2:5]] == ["zygote", "alerter", "workers"]
    assert (plan.line("alerter").name, plan.line("alerter").bytes) == ("alerts", 10 * MIB)
    assert plan.room_bytes == without.room_bytes - 10 * MIB
    with pytest.raises(PlanError, match=r"zygote 40 MB \+ alerts 10 MB \+ worker 9 MB \+ threads"):
        plan_for(64 * MIB, wishes=replace(NO_WISHES, alerts=True))


def test_threads_and_queue_follow_the_wishes() -> None:
    """Threads count per worker, waiting requests for the whole server."""
    wishes = replace(NO_WISHES, workers=2, threads=40, queue_requests=320)
    plan = plan_for(512 * MIB, SMALL_APP, wishes=wishes)

    assert plan.line("threads").bytes == 8 * MIB  # 2 x 40 x 100 KB = 7.8
    assert plan.line("queue").bytes == 10 * MIB
    assert plan.line("queue").how == "configured"


@pytest.mark.parametrize(
    ("limit_bytes", "requests"),
    [(128 * MIB, 128), (256 * MIB, 163), (512 * MIB, 327), (8 * GIB, 1024)],
)
def test_the_queue_grows_with_the_limit_within_bounds(limit_bytes: int, requests: int) -> None:
    """2 % of the limit, at 32 KB a request, between 128 and 1024 requests."""
    assert plan_for(limit_bytes, SMALL_APP).queue_requests == requests


def test_workers_that_cannot_fit_are_refused_with_the_sum_and_a_way_out() -> None:
    """The message is one line that can be checked by adding up, and both ways out work."""
    wishes = replace(NO_WISHES, workers=40)
    with pytest.raises(PlanError) as refusal:
        plan_for(512 * MIB, PANDAS_APP, wishes=wishes)

    assert str(refusal.value) == (
        "40 workers cannot fit: reserve 22 MB + supervisor 12 MB + zygote 112 MB"
        " + 40 workers x 17 MB + threads 63 MB + queue 11 MB + room for requests 32 MB = 932 MB,"
        " but the limit is 512 MB (cgroup v2 memory.max of /app):"
        " use --workers 17, or --memory 960M in a container that has as much"
    )
    assert 22 + 12 + 112 + 40 * 17 + 63 + 11 + 32 == 932
    assert plan_for(512 * MIB, PANDAS_APP, 17, wishes=replace(wishes, workers=17)).workers == 17
    assert plan_for(960 * MIB, PANDAS_APP, wishes=wishes).workers == 40
    with pytest.raises(PlanError):
        plan_for(512 * MIB, PANDAS_APP, wishes=replace(wishes, workers=18))


def test_a_very_small_limit_is_refused_with_the_sum() -> None:
    """In 64 MB not even one worker fits; there is no smaller number of workers to advise."""
    with pytest.raises(
        UsageError, match=r"1 worker cannot fit: .* = 119 MB, but the limit is 64 MB"
    ) as refusal:
        plan_for(64 * MIB)

    assert "--workers" not in str(refusal.value)
    assert "--memory 128M" in str(refusal.value)
    assert plan_for(128 * MIB).workers == 1


def test_a_limit_that_holds_not_even_the_processes_is_refused_without_a_sum() -> None:
    """Below 32 MB no wish makes a server possible, so none is asked for."""
    with pytest.raises(PlanError, match=r"^a limit of 20 MB holds no server: .* --memory 512M$"):
        plan_for(20 * MIB)
    with pytest.raises(PlanError, match="1 worker cannot fit"):
        plan_for(32 * MIB)


def test_an_exhausted_mark_below_the_app_is_named_as_the_cause() -> None:
    """With EXHAUSTED at 2 % no limit is large enough, so none is advised."""
    with pytest.raises(PlanError, match=r"use a higher --exhausted-at$"):
        plan_for(200 * MIB, wishes=replace(NO_WISHES, exhausted_bytes=4 * MIB))


def test_a_platforms_number_of_workers_is_lowered_with_a_warning() -> None:
    """A WEB_CONCURRENCY made from the host's processors does not stop the server."""
    plan = plan_for(512 * MIB, PANDAS_APP, 16, wishes=from_platform(129))

    assert plan.workers == 12
    assert plan.warnings == (
        "WEB_CONCURRENCY asks for 129 workers; 12 are started:"
        " more would leave less than 128 MB as room for requests",
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_a_platforms_number_that_fits_is_followed(workers: int) -> None:
    """Neither raised nor lowered, and without a word."""
    plan = plan_for(512 * MIB, PANDAS_APP, 4, wishes=from_platform(workers))

    assert (plan.workers, plan.warnings) == (workers, ())


def test_a_platforms_nought_means_one_worker() -> None:
    """WEB_CONCURRENCY=0 is lowered the other way: something has to serve."""
    plan = plan_for(512 * MIB, wishes=from_platform(0))

    assert plan.workers == 1
    assert plan.warnings == (
        "WEB_CONCURRENCY asks for 0 workers; 1 is started: fewer cannot serve",
    )


def test_clustering_switched_off_wins_over_a_number_of_workers() -> None:
    """One process is forced, and the number that is not followed is named."""
    wishes = replace(NO_WISHES, clustering=False, workers=3)
    plan = plan_for(GIB, SMALL_APP, wishes=wishes)

    assert plan.workers == 1
    assert plan.warnings == (
        "--workers asks for 3 workers; 1 is started: clustering is switched off",
    )


def test_what_is_allowed_but_unwise_is_said() -> None:
    """More workers than CPUs, and little room, are followed with a warning each."""
    wishes = replace(NO_WISHES, workers=3)
    plan = plan_for(144 * MIB, SMALL_APP, 1, wishes=wishes)

    assert plan.workers == 3
    assert plan.warnings == (
        "3 workers share 1 CPU: more workers than CPUs cost memory and seldom serve faster",
        "only 36 MB are left as room for requests",
    )
    assert plan_for(512 * MIB, SMALL_APP, 1.5, wishes=wishes).warnings == (
        "3 workers share 1.5 CPUs: more workers than CPUs cost memory and seldom serve faster",
    )


@pytest.mark.parametrize(
    ("limit_bytes", "change", "advice"),
    [
        (0, {}, "^0 bytes cannot be divided: use for example --memory 512M$"),
        (1, {}, "holds no server: use for example --memory 512M$"),
        (512 * MIB, {"workers": 0}, "--workers asks for 0 workers: use 1 or more"),
        (512 * MIB, {"threads": 0}, "--threads 1 or more"),
        (512 * MIB, {"queue_requests": -1}, "--queue-requests 0 or more"),
        (512 * MIB, {"free_floor_bytes": -1}, "--free-floor 0 or more"),
    ],
)
def test_figures_without_sense_are_refused(
    limit_bytes: int, change: dict[str, int], advice: str
) -> None:
    """A negative line would make the sum come out right and the plan wrong."""
    with pytest.raises(PlanError, match=advice):
        plan_for(limit_bytes, wishes=replace(NO_WISHES, **change))  # type: ignore[arg-type]


def test_the_least_that_makes_sense_is_taken() -> None:
    """One worker with one thread, nobody who may wait, nothing kept free."""
    wishes = replace(NO_WISHES, workers=1, threads=1, queue_requests=0, free_floor_bytes=0)
    plan = plan_for(512 * MIB, wishes=wishes)

    assert (plan.workers, plan.threads, plan.queue_requests) == (1, 1, 0)


def test_an_unknown_line_is_a_key_error() -> None:
    """Asking a plan for a line it does not have is a mistake in the caller."""
    with pytest.raises(KeyError, match="swap"):
        plan_for(512 * MIB).line("swap")


def bounded(worker_memory_mb: int) -> Wishes:
    """Wish for workers of so many MB at most."""
    return replace(NO_WISHES, worker_memory_bytes=worker_memory_mb * MIB)


def test_a_worker_that_could_let_nothing_in_is_refused() -> None:
    """It holds more before its first request than it may hold at all; the sum is told."""
    with pytest.raises(PlanError) as caught:
        plan_for(512 * MIB, SMALL_APP, wishes=bounded(10))

    assert str(caught.value) == (
        "--worker-memory 10 MB is less than a worker holds before its first request: 24 MB of the "
        "imported app + 6 MB = 30 MB: use for example --worker-memory 64M"
    )
    assert plan_for(512 * MIB, SMALL_APP, wishes=bounded(64)).warnings == ()


def test_a_bound_that_is_only_probably_too_tight_is_a_warning() -> None:
    """The app has not been measured, or a little is left."""
    assert plan_for(512 * MIB, wishes=bounded(10)).warnings == (
        "--worker-memory 10 MB leaves 0 MB to the requests of a worker: before the first it is "
        "taken to hold 30 MB",
    )
    assert plan_for(512 * MIB, SMALL_APP, wishes=bounded(40)).warnings == (
        "--worker-memory 40 MB leaves 10 MB to the requests of a worker: before the first it holds "
        "30 MB",
    )


def test_a_bound_at_the_limit_or_above_bounds_nothing() -> None:
    """It is told, and the plan is the same."""
    plan = plan_for(512 * MIB, SMALL_APP, wishes=bounded(1024))

    assert plan.warnings == (
        "--worker-memory 1,024 MB is not below the limit of 512 MB: it bounds nothing",
    )
    assert plan.lines == plan_for(512 * MIB, SMALL_APP).lines


def test_recycling_above_less_than_a_fresh_worker_is_told() -> None:
    """Its successor would be above it as well."""
    low = replace(NO_WISHES, recycle_above_bytes=9 * MIB)
    assert plan_for(512 * MIB, SMALL_APP, wishes=low).warnings == (
        "--recycle-above 9 MB is not more than the 9 MB that a fresh worker may hold of its own: "
        "recycling could not bring it below",
    )
    high = replace(NO_WISHES, recycle_above_bytes=100 * MIB)
    assert plan_for(512 * MIB, SMALL_APP, wishes=high).warnings == ()


def test_a_job_that_is_allowed_more_than_there_is_is_told() -> None:
    """It would be refused, whenever it came; what fits is not spoken of."""
    wishes = replace(NO_WISHES, job_memory_bytes=600 * MIB)
    plan = plan_for(512 * MIB, SMALL_APP, 1, wishes=wishes)
    assert plan.warnings == (
        "--job-memory 600 MB is more than the 416 MB that are left for requests and jobs:"
        " such a job is refused; allow it less, or raise the limit",
    )
    fitting = replace(NO_WISHES, job_memory_bytes=416 * MIB)
    assert plan_for(512 * MIB, SMALL_APP, 1, wishes=fitting).warnings == ()


def test_stores_have_a_line_and_leave_room_for_requests() -> None:
    """What caches and writers may hold, in all workers; they give way, so they refuse nothing."""
    app = replace(SMALL_APP, stores=(("sessions", 4 * MIB), ("events", 8 * MIB)))
    wishes = replace(NO_WISHES, workers=2)
    without, plan = (plan_for(512 * MIB, each, wishes=wishes) for each in (SMALL_APP, app))
    line = plan.line("stores")
    assert (line.bytes, line.note) == (
        24 * MIB,
        "at most, in each of 2 workers: events 8 MB, sessions 4 MB",
    )
    assert plan.room_bytes == without.room_bytes - 24 * MIB
    assert (plan.workers, plan.warnings) == (2, without.warnings)


def test_stores_that_do_not_fit_get_what_is_left() -> None:
    """Down to the least room for requests; a warning says how much that is."""
    many = tuple((f"cache {number}", 100 * MIB) for number in range(5))
    plan = plan_for(512 * MIB, replace(SMALL_APP, stores=many))
    assert plan.line("stores").note == (
        "at most, in each of 2 workers: cache 0 100 MB, cache 1 100 MB, cache 2 100 MB and 2 more"
    )
    assert plan.room_bytes == 32 * MIB
    assert sum(line.bytes for line in plan.lines) == 512 * MIB
    assert plan.warnings == (
        "caches and writers may hold 1,000 MB in 2 workers together, and 373 MB are left:"
        " they give way when memory is short, but lower their max_bytes to keep what they hold",
    )
    plan = plan_for(512 * MIB, replace(SMALL_APP, stores=many[:4]), 1)
    assert (plan.line("stores").how, plan.line("stores").note) == (
        "calculated",
        "at most cache 0 100 MB, cache 1 100 MB, cache 2 100 MB and 1 more",
    )
    assert plan.warnings == (
        "caches and writers may hold 400 MB, and 384 MB are left: they give way when memory is"
        " short, but lower their max_bytes to keep what they hold",
    )
