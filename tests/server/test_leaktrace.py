"""Traces of real allocations: the line that leaks is named, and what comes and goes is not."""

from __future__ import annotations

import inspect
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tonnage.host.channel import LONGEST_BYTES
from tonnage.server.leaks import lines, trace
from tonnage.server.leaks.lines import by_line, code_of, short_path, to_blame, whose_is
from tonnage.server.leaks.report import render
from tonnage.server.leaks.trace import LINES, LeakTrace, TraceReport
from tonnage.units import KIB, MIB

HERE = short_path(__file__)


class World:
    """An application in one process: its clock, its requests, and what it kept."""

    def __init__(self) -> None:
        self.now = 100.0
        self.requests = 0
        self.kept: list[object] = []
        self.native_bytes = 0

    def held_bytes(self) -> int:
        """Return what the process is said to hold: 64 KB for each request, and the rest."""
        tracing = 2 * tracemalloc.get_tracemalloc_memory() if tracemalloc.is_tracing() else 0
        return 64 * KIB * self.requests + self.native_bytes + tracing

    def trace(
        self,
        request: Callable[[], object],
        *,
        seconds: float = 8.0,
        budget_bytes: int = 64 * MIB,
        per_tick: int = 2,
    ) -> TraceReport:
        """Trace for so long, with some requests at each tick of a tenth of a second."""
        trace = LeakTrace(
            seconds,
            budget_bytes,
            requests=lambda: self.requests,
            held_bytes=self.held_bytes,
            clock=lambda: self.now,
        )
        trace.begin()
        while not trace.tick():
            for _ in range(per_tick):
                self.requests += 1
                request()
            self.now += 0.1
        return trace.finish()


@pytest.fixture
def world() -> Iterator[World]:
    """Yield an application, and see to it that nothing is traced afterwards."""
    yield World()
    assert not tracemalloc.is_tracing()


@pytest.fixture(scope="module")
def uneventful() -> TraceReport:
    """Return the report of a short trace in which nothing happened, to say other things with."""
    return World().trace(lambda: None, seconds=1.0)


def leak(world: World) -> None:
    """Keep 64 KB."""
    world.kept.append(bytearray(64 * KIB))


def line_of(function: Callable[..., object]) -> int:
    """Return the number of the last line of *function*."""
    lines, first = inspect.getsourcelines(function)
    return first + len(lines) - 1


def test_the_line_that_leaks_is_named(world: World) -> None:
    """With its text, its bytes, and its share, over the requests after the warm-up."""
    report = world.trace(lambda: leak(world))

    first = report["lines"][0]
    assert (first["file"], first["line"]) == (HERE, line_of(leak))
    assert first["code"] == "world.kept.append(bytearray(64 * KIB))"
    assert first["whose"] == "app"
    assert first["grown_bytes"] == pytest.approx(64 * KIB * report["requests"], rel=0.01)
    assert first["share"] > 0.95
    assert report["ended"] == "time"
    assert report["seconds"] == pytest.approx(6.0, abs=0.2)
    assert report["requests"] == pytest.approx(120, abs=4)
    assert report["grown_bytes"] == pytest.approx(report["traced_bytes"], rel=0.05)


def test_what_comes_and_goes_is_not_named(world: World) -> None:
    """Neither garbage in cycles nor a buffer that is always full."""

    def request() -> None:
        cycle: list[object] = [bytearray(MIB)]
        cycle.append(cycle)
        world.kept[:] = [bytearray(MIB)]

    report = world.trace(request)

    assert report["lines"] == []
    assert "nothing grew with these " in render(report | {"grown_bytes": 0})


def test_a_worker_without_requests_has_no_lines(world: World) -> None:
    """What the server's own clockwork allocates is no news; that there was no request is."""

    def tick() -> None:
        world.requests = 0
        world.kept.append(bytearray(50))

    text = render(world.trace(tick))

    assert text.splitlines()[0] == "in 6.0 s no requests came: nothing to measure"
    assert text.splitlines()[2:] == [
        "nothing grew: no line by 16 KB or more; there was no request, so trace again when there "
        "are some"
    ]


@pytest.mark.parametrize(
    ("requests", "grown_bytes", "first"),
    [
        (0, -15 * KIB, "no requests came: nothing to measure"),
        (0, 20 * MIB, "no requests came, and 20 MB was left all the same"),
        (1200, -56 * KIB, "1,200 requests left nothing: 56 KB less is held than before"),
        (1200, 0, "1,200 requests left 0 B"),
        (1, 2 * MIB, "1 requests left 2 MB: 2 MB a request"),
    ],
)
def test_what_was_left_reads_well(
    uneventful: TraceReport, requests: int, grown_bytes: int, first: str
) -> None:
    """Also where there was nothing, or less than before."""
    text = render(uneventful | {"requests": requests, "grown_bytes": grown_bytes})

    assert text.splitlines()[0].endswith(f" s {first}")


def test_a_line_that_nothing_else_leads_to_has_no_way(uneventful: TraceReport) -> None:
    """Nothing is said of how it was come by."""
    line: Any = {"file": "shop.py", "line": 7, "code": "x = []", "whose": "app", "blocks": 3}
    line |= {"grown_bytes": 3 * MIB, "share": 1.0, "frames": ["shop.py:7"]}
    text = render(uneventful | {"lines": [line]})
    assert "  shop.py:7  x = []\n    3 MB in 3 blocks (100 %)" in text
    assert "by way of" not in text
    line["frames"] = ["shop.py:7", "cart.py:9"]
    assert "by way of cart.py:9" in render(uneventful | {"lines": [line]})


def test_a_little_of_each_request_is_named(world: World) -> None:
    """A small object that each leaves is a leak, once there were requests enough."""

    def request() -> None:
        world.kept.append(bytearray(200))

    short, longer = world.trace(request, seconds=2.0), world.trace(request, seconds=10.0)

    assert short["lines"] == []
    assert longer["lines"][0]["line"] == line_of(request)
    assert "trace for longer" in render(longer | {"grown_bytes": longer["traced_bytes"]})


def test_less_than_a_pointer_for_each_request_is_noise(world: World) -> None:
    """A table that was enlarged once did not grow with 3000 requests."""

    def request() -> None:
        if world.requests == 2000:
            world.kept.append(bytearray(17 * KIB))

    text = render(world.trace(request, per_tick=50) | {"grown_bytes": 0})

    assert "nothing grew with these 3," in text
    assert text.endswith("or more, 8 B a request")


def test_a_trace_that_is_ended_early_tells_what_it_has(world: World) -> None:
    """Its worker is about to end, and would take it along."""
    trace = LeakTrace(
        60.0,
        64 * MIB,
        requests=lambda: world.requests,
        held_bytes=world.held_bytes,
        clock=lambda: world.now,
    )
    trace.begin()
    for _ in range(200):
        assert not trace.tick()
        world.requests += 1
        leak(world)
        world.now += 0.1

    trace.end_early()
    report = trace.finish()

    assert report["ended"] == "early"
    assert report["lines"][0]["line"] == line_of(leak)
    assert report["seconds"] == pytest.approx(5.0, abs=0.2)
    assert "ended early, since the worker was to end" in render(report)


def test_a_library_is_blamed_on_who_called_it(world: World) -> None:
    """What json.loads allocates is laid to the line that keeps it; the way there is told."""
    text = json.dumps([{"name": f"number {number}"} for number in range(50)])

    def parse() -> None:
        world.kept.append(json.loads(text))

    report = world.trace(parse)

    first = report["lines"][0]
    assert (first["file"], first["line"]) == (HERE, line_of(parse))
    assert any("json" in frame for frame in first["frames"])


def test_the_budget_ends_a_trace_early(world: World) -> None:
    """Millions of small objects are not waited for; what was seen until then is told."""

    def request() -> None:
        world.kept.append([object() for _ in range(1000)])

    report = world.trace(request, budget_bytes=4 * MIB)

    assert report["ended"] == "budget"
    assert report["seconds"] < 4.0
    assert report["cost_bytes"] < 4 * MIB
    assert report["lines"][0]["line"] == line_of(request)
    assert "ended early" in render(report)


def test_one_step_past_the_budget_ends_a_trace_without_lines(world: World) -> None:
    """A snapshot would double what is over already."""

    def request() -> None:
        world.kept.append([object() for _ in range(60_000)])

    report = world.trace(request, budget_bytes=4 * MIB)

    assert report["ended"] == "overrun"
    assert report["lines"] == []
    assert "there are no lines" in render(report)


def test_an_application_that_traces_is_left_alone(world: World) -> None:
    """Its own traces are neither read nor ended."""
    tracemalloc.start()
    try:
        report = world.trace(lambda: leak(world))

        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
    assert report["ended"] == "taken"
    assert report["lines"] == []
    assert "in use by the application" in render(report)


def test_a_trace_that_is_cancelled_leaves_nothing(world: World) -> None:
    """Cancelling twice does no harm."""
    trace = LeakTrace(1.0, MIB, requests=lambda: 0, held_bytes=lambda: 0)
    trace.begin()
    assert tracemalloc.is_tracing()

    trace.cancel()
    trace.cancel()

    assert tracemalloc.get_traced_memory() == (0, 0)


def test_native_growth_is_called_unexplained(world: World) -> None:
    """What the process grew by, but no trace knows of."""

    def request() -> None:
        world.native_bytes += MIB

    text = render(world.trace(request))

    assert re.search(r"not allocated through Python: 1.. MB of 1.. MB are unexplained", text)


def test_a_report_fits_a_message(world: World, tmp_path: Path) -> None:
    """However many lines leak, with names and texts of any length in any script."""
    folder = tmp_path / ("ж" * 100) / ("ж" * 100)
    folder.mkdir(parents=True)
    keepers = []
    for number in range(30):
        file = folder / f"{number}.py"
        file.write_text(f"def keep(kept):\n    kept.append(bytearray(9999))  # {'ж' * 3000}\n")
        names: dict[str, Callable[[list[object]], None]] = {}
        exec(compile(file.read_text(), str(file), "exec"), names)
        keepers.append(names["keep"])

    report = world.trace(lambda: [keep(world.kept) for keep in keepers])

    assert 5 <= len(report["lines"]) <= LINES
    assert len(json.dumps({"kind": "Traced", "report": report})) < LONGEST_BYTES
    assert all(len(line["code"]) <= 100 for line in report["lines"])


def test_the_text_is_for_people() -> None:
    """The whole in one line, then each line of code with its figures."""
    report = TraceReport(
        ended="time",
        seconds=8.0,
        requests=2400,
        grown_bytes=151 * MIB,
        traced_bytes=150 * MIB,
        cost_bytes=3 * MIB // 2,
        worth_bytes=19_200,
        lines=[
            {
                "file": "app.py",
                "line": 14,
                "code": "leak.append(bytearray(65536))",
                "whose": "app",
                "grown_bytes": 147 * MIB,
                "blocks": 2400,
                "bytes_per_block": 64 * KIB,
                "share": 0.98,
                "frames": ["app.py:14", "routes.py:3"],
            }
        ],
    )

    assert render(report) == (
        "in 8.0 s 2,400 requests left 151 MB: 64 KB a request\n"
        "tracing cost 1.5 MB\n"
        "these lines allocated what stayed:\n"
        "  app.py:14  leak.append(bytearray(65536))\n"
        "    147 MB in 2,400 blocks (98 %)\n"
        "    by way of routes.py:3"
    )


def test_a_cache_that_turns_over_is_not_called_a_leak_of_the_process() -> None:
    """More was allocated and kept than the process grew: the rest replaced something."""
    report = TraceReport(
        ended="time",
        seconds=8.0,
        requests=2400,
        grown_bytes=0,
        traced_bytes=90 * MIB,
        cost_bytes=MIB,
        worth_bytes=19_200,
        lines=[],
    )

    assert "replaced older objects" in render(report)


PACKAGES = "/app/.venv/lib/python3.12/site-packages"


@pytest.mark.parametrize(
    ("file", "whose"),
    [
        ("/app/main.py", "app"),
        ("/app/asyncio/mine.py", "app"),
        (f"{PACKAGES}/sqlalchemy/orm.py", "library"),
        (f"{PACKAGES}/uvicorn/server.py", "server"),
        (f"{PACKAGES}/tonnage/web/gate.py", "server"),
        (json.__file__, "library"),
        (inspect.getsourcefile(__import__("asyncio").run), "server"),
        ("<string>", "library"),
        ("<frozen importlib._bootstrap>", "library"),
    ],
)
def test_each_file_is_somebodys(file: str, whose: str) -> None:
    """The application's is what is neither installed nor part of Python."""
    assert whose_is(file) == whose


def test_the_innermost_line_of_the_application_is_to_blame() -> None:
    """Where there is none, a library's, and else the server's."""
    app, outer = ("/app/main.py", 3), ("/app/main.py", 99)
    library, server = (f"{PACKAGES}/orm.py", 7), (f"{PACKAGES}/uvicorn/server.py", 1)

    assert to_blame((library, app, outer)) == app
    assert to_blame((server, library)) == library
    assert to_blame((server,)) == server


def test_paths_and_code_are_short(tmp_path: Path) -> None:
    """A path begins where a person's knowledge of it does; a file that is gone has no code."""
    long = tmp_path / "long.py"
    long.write_text("first = 1\n" + "x" * 500)

    assert short_path(f"{PACKAGES}/sqlalchemy/orm.py") == "sqlalchemy/orm.py"
    assert short_path(str(Path.cwd() / "main.py")) == "main.py"
    assert short_path("/" + "a" * 200 + "/b.py").endswith("a/b.py")
    assert len(short_path("/" + "a" * 200 + "/b.py")) == 120
    assert code_of((str(long), 1)) == "first = 1"
    assert code_of((str(long), 2)) == "x" * 97 + "..."
    assert code_of((str(long), 3)) == ""
    assert code_of(("<string>", 1)) == ""


@pytest.mark.parametrize("file", [lines.__file__, trace.__file__, tracemalloc.__file__])
def test_what_tracing_itself_has_allocated_is_left_out(file: str) -> None:
    """Its own lists and dicts are alive when it looks."""
    app = ("/srv/app.py", 3)

    alive, ways = by_line([(0, 100, ((file, 1), app), 2), (0, 10, (app,), 1)])

    assert alive == {app: (10, 1)}
    assert ways == {app: (app,)}
