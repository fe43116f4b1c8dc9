"""The state of the server, as page, terminal and scripts get it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from tests.ops.page.watched import Watched, plan

from tonnage.governor.levels import Level
from tonnage.governor.statistics import WorkerState
from tonnage.ops.figures.records import (
    MOST_STORES,
    Figures,
    RouteFigures,
    StoreFigures,
)
from tonnage.ops.page.history import COLUMNS
from tonnage.ops.page.state import MOST_POSTMORTEMS
from tonnage.server.conversation import LONGEST_ANSWER_BYTES
from tonnage.units import MIB


@pytest.fixture
def watched() -> Iterator[Watched]:
    """Yield a page."""
    made = Watched()
    yield made
    made.live.close()


def worker(watched: Watched, index: int, *, pss: int, held: int) -> None:
    """Have a worker that holds so many MB, all in all and of its own."""
    slot = watched.page.slots[index]
    slot.pid, slot.state = 100 + index, WorkerState.READY
    slot.pss_bytes = pss * MIB
    slot.held_bytes = held * MIB
    watched.page.header.workers_own_bytes += held * MIB


def test_the_tank_adds_up_to_the_limit(watched: Watched) -> None:
    """Down to what is free."""
    worker(watched, 0, pss=25, held=15)
    worker(watched, 1, pss=30, held=18)

    tank = watched.state()["tank"]

    assert {name: size // MIB for name, size in tank.items()} == {
        "supervisor": 10,
        "zygote": 20,
        "workers_shared": 22,
        "workers_own": 33,
        "jobs": 0,
        "unexplained": 15,
        "cache": 30,
        "free": 126,
    }
    assert sum(tank.values()) == 256 * MIB


def test_it_adds_up_where_more_is_measured_than_used(watched: Watched) -> None:
    """Shares are older than the use: no part is less than nothing, as a picture could not show."""
    worker(watched, 0, pss=90, held=80)

    tank = watched.state()["tank"]

    assert (tank["unexplained"], tank["workers_own"]) == (0, 80 * MIB)
    assert min(tank.values()) >= 0
    assert sum(tank.values()) == 256 * MIB


def test_file_cache_is_no_more_than_there_is_room_for(watched: Watched) -> None:
    """A limit of the user's, in a larger container, knows nothing of the cache there."""
    watched.page.header.cache_bytes = 900 * MIB

    tank = watched.state()["tank"]

    assert (tank["cache"], tank["free"]) == (156 * MIB, 0)


def test_who_answers_and_what_holds(watched: Watched) -> None:
    """Names, marks, the status as ``/status`` has it, and the plan's receipt."""
    found = watched.state()

    assert found["time"] == 1_700_001_000
    assert found["server"]["name"] == "127.0.0.1:8000"
    assert found["status"]["level"] == "OK"
    assert found["marks"] == {
        "warning_bytes": 200 * MIB,
        "critical_bytes": 230 * MIB,
        "exhausted_bytes": 240 * MIB,
        "ceiling_bytes": 235 * MIB,
        "limit_bytes": 256 * MIB,
    }
    assert [line["name"] for line in found["plan"]] == [line.name for line in plan().lines]
    assert sum(line["bytes"] for line in found["plan"]) == 256 * MIB
    assert all(line["why"] for line in found["plan"])


def test_stores_in_the_order_of_their_names(watched: Watched) -> None:
    """So that they do not jump about."""
    watched.figures = Figures(
        stores=(
            StoreFigures("writer", "clicks", {"flushed": 7}),
            StoreFigures("cache", "b", {"hits": 2}, {"entries": 1}),
            StoreFigures("cache", "a"),
        )
    )

    found = watched.state()["stores"]

    assert [(each["kind"], each["name"]) for each in found] == [
        ("cache", "a"),
        ("cache", "b"),
        ("writer", "clicks"),
    ]
    assert (found[1]["counts"], found[1]["now"]) == ({"hits": 2}, {"entries": 1})


def test_what_the_supervisor_logs_is_an_event(watched: Watched) -> None:
    """As soon as there is a page, and until it is closed."""
    logger = logging.getLogger("tonnage.supervisor")
    logger.warning("worker %d is stuck", 1)

    assert watched.state()["events"][0]["text"] == "worker 1 is stuck"

    watched.live.close()
    logger.warning("unseen")
    assert len(watched.state()["events"]) == 1


def test_post_mortems_are_read_seldom(watched: Watched) -> None:
    """The newest of them; the page asks every second, and they are on a disk."""
    watched.shelf.reports = [{"name": f"r{n}", "summary": "x" * 9000} for n in range(30)]

    for _ in range(4):
        found = watched.state()["postmortems"]
        watched.seconds += 1
    assert [each["name"] for each in found] == [f"r{n}" for n in range(MOST_POSTMORTEMS)]
    assert watched.shelf.reads == 1

    watched.seconds += 5
    watched.state()
    assert watched.shelf.reads == 2


def test_post_mortems_of_another_application_are_not_shown(watched: Watched) -> None:
    """Whoever had the port before has its reports in the same place."""
    watched.shelf.reports = [{"name": "theirs", "is_own": False}, {"name": "ours", "is_own": True}]

    assert [each["name"] for each in watched.state()["postmortems"]] == ["ours"]


def test_leaks_are_told(watched: Watched) -> None:
    """With their figures."""
    watched.shelf.leaking = [{"worker": 1, "bytes_per_second": 5.0}]

    assert watched.state()["leaks"] == [{"worker": 1, "bytes_per_second": 5.0}]


def test_the_largest_state_fits_the_door(watched: Watched) -> None:
    """All that is bounded, at its bound: 64 workers, and names as long as they get."""
    watched.page.use_slots(64)
    for index in range(64):
        worker(watched, index, pss=2**20, held=2**20)
    watched.figures = Figures(
        routes=tuple(RouteFigures(f"GET /{n:0>90}", (10**9,) * 5) for n in range(100)),
        stores=tuple(
            StoreFigures("cache", f"{n:0>127}", {f"counter_{k}": 10**12 for k in range(12)})
            for n in range(MOST_STORES)
        ),
    )
    watched.shelf.reports = [{"name": f"r{n}", "summary": "é" * 9000} for n in range(30)]
    for number in range(60):
        logging.getLogger("tonnage.supervisor").warning(f"{number}" + "語" * 9000)

    answer = watched.get("/tonnage/live")

    assert 100_000 < len(answer.body) <= LONGEST_ANSWER_BYTES


def test_the_past_is_noted(watched: Watched) -> None:
    """Who held what, and the level; not before anything has been measured."""
    header = watched.page.header
    header.supervisor_pss_bytes = 0
    watched.live.note()
    header.supervisor_pss_bytes, header.used_bytes = 10 * MIB, 0
    watched.live.note()
    header.used_bytes, header.level = 239 * MIB, Level.CRITICAL
    watched.live.note()

    (row,) = json_rows(watched)

    assert row["time"] == 1_700_001_000
    assert (row["supervisor"], row["zygote"]) == (10 * MIB, 20 * MIB)
    assert row["level"] == 2
    held = sum(size for name, size in row.items() if name not in ("time", "level", "cache"))
    assert held == 239 * MIB


def json_rows(watched: Watched) -> list[dict[str, float]]:
    """Return the rows of the history, each by its columns."""
    import json

    found = json.loads(watched.get("/tonnage/history").body)
    assert found["columns"] == list(COLUMNS)
    return [dict(zip(COLUMNS, row, strict=True)) for row in found["rows"]]
