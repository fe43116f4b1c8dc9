"""Leaks, as the supervisor follows them: asked about, told, traced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.server.conftest import Said
from tests.server.scene import KILLED, NOBODY, Whole, refusal, scene

from tonnage.governor.costs import RouteCost
from tonnage.ops.alertpolicy import LEAK_FOUND
from tonnage.server.actions import LONGEST_TRACE_SECONDS
from tonnage.server.leaks.following import Leaking
from tonnage.server.leaks.trace import TraceReport
from tonnage.server.messages import Reclaim, Traced
from tonnage.server.watch import Reading
from tonnage.units import KIB, MIB

# What a leak of 64 KB a request at 160 requests a second comes to.
LEAK_MB = 10


@pytest.fixture
def server() -> Iterator[Whole]:
    """Two workers, and 100 of 512 MB in use."""
    with scene(Whole) as made:
        made.look(100)
        yield made


def leak(server: Whole, index: int = 0, *, points: int = 5) -> Leaking:
    """Let a worker hold more after each collection, one a second; return who follows it."""
    for number in range(points):
        server.now_seconds += 1
        server.reclaimed(
            index,
            own_bytes=(20 + LEAK_MB * number) * MIB,
            requests=1000 + 160 * number,
            why="it grows",
        )
    return server.keeper.leaking


def report(**fields: object) -> TraceReport:
    """Return the report of a trace."""
    found = {
        "ended": "time",
        "seconds": 7.5,
        "requests": 1200,
        "grown_bytes": 1200 * 64 * KIB,
        "traced_bytes": 1200 * 64 * KIB,
        "cost_bytes": 2 * MIB,
        "worth_bytes": 16 * KIB,
        "lines": [],
    }
    return found | fields  # type: ignore[return-value]


def test_a_leak_is_told_once_with_its_bytes_per_request(server: Whole, said: Said) -> None:
    """In the log and as an alert; and recycling knows its pace."""
    found = leak(server)

    assert found.bytes_per_second(0) == pytest.approx(LEAK_MB * MIB, rel=0.05)
    assert found.bytes_per_second(1) == 0.0
    ((kind, text),) = server.told
    assert kind == LEAK_FOUND
    assert text.startswith(f"worker 0 (pid {NOBODY + 1}) leaks 64.0 KB a request, 10 MB a second")
    assert text in said()

    leak(server, points=3)
    assert len(server.told) == 1


def test_whoever_is_told_of_a_leak_gets_its_figures(server: Whole) -> None:
    """And the route, where only one has had requests; of several it is not known."""
    leak(server)
    assert server.figures["worker"] == 0
    assert server.figures["bytes_per_request"] == pytest.approx(64 * KIB, rel=0.05)
    assert server.figures["requests"] == 480
    assert "route" not in server.figures

    for row, route in ((3, b"GET /leak/{id}"), (8, b"GET /other")):
        server.page.cost_names(row)[: len(route)] = route
    served(server, 3)
    leak(server, 1)
    assert server.figures["route"] == "GET /leak/{id}"

    served(server, 8)
    server.dies(0, KILLED)
    server.start()
    leak(server, 0)
    assert "route" not in server.figures


def served(server: Whole, row: int) -> None:
    """Let the route in *row* of the table of costs have had a request."""
    RouteCost("", server.page.cost_numbers(row)).observe(0.0, 0.0, 0.1)


def test_what_does_not_grow_is_no_leak(server: Whole) -> None:
    """However often it is collected."""
    for _ in range(20):
        server.now_seconds += 1
        server.reclaimed(0, own_bytes=100 * MIB, requests=10_000)

    assert server.told == []
    assert server.keeper.leaking.state() == {
        "state": "idle",
        "leaks": [],
        "bytes_per_request": 0.0,
        "report": None,
        "text": "no worker is known to leak",
        "detail": "",
    }


def test_a_worker_that_grows_steadily_is_asked_to_collect(server: Whole) -> None:
    """Once a second at most, and by what it held least in that second: requests come and go."""
    pid = server.crew.members[0].pid
    assert pid is not None
    server.messages(0)
    for tenth in range(80):
        server.now_seconds += 0.1
        busy = 30 if tenth % 10 == 5 else 0
        held = int((20 + tenth + busy) * MIB)
        server.keeper.leaking.glance({0: Reading(pid, held, 0, held)}, 100 * MIB)

    found = server.messages(0)
    assert 1 <= len(found) <= 8
    assert found[0] == Reclaim(0, 0, "it grows")
    assert server.messages(1) == []


def test_what_running_requests_hold_is_not_suspected(server: Whole) -> None:
    """An overload fills memory with requests, steadily, and then holds it."""
    pid = server.crew.members[0].pid
    assert pid is not None
    server.messages(0)
    for tenth in range(80):
        server.now_seconds += 0.1
        server.page.slots[0].taken_bytes = 4 * tenth * MIB
        held = (20 + 4 * tenth) * MIB
        server.keeper.leaking.glance({0: Reading(pid, held, 0, held)}, 100 * MIB)

    assert server.messages(0) == []


def test_a_leak_that_no_request_makes_is_told_as_such(server: Whole) -> None:
    """A thread of the application's own: its pace is one of time."""
    for number in range(5):
        server.now_seconds += 1
        server.reclaimed(0, own_bytes=(20 + LEAK_MB * number) * MIB, requests=7, why="it grows")

    ((_, text),) = server.told
    assert "leaks independently of requests, 10 MB a second" in text


def test_a_leak_is_forgotten_with_its_worker(server: Whole) -> None:
    """Its successor has a history of its own."""
    found = leak(server)
    server.dies(0, KILLED)

    assert found.bytes_per_second(0) == 0.0
    assert found.state()["leaks"] == []


def test_the_state_is_for_machines_and_for_people(server: Whole) -> None:
    """Leaks that are known, and a sentence on each, as long as there is no report."""
    state = leak(server).state()

    (known,) = state["leaks"]
    assert known["worker"] == 0
    assert known["bytes_per_request"] == pytest.approx(64 * KIB, rel=0.05)
    assert state["bytes_per_request"] == pytest.approx(64 * KIB, rel=0.05)
    assert "leaks 64.0 KB a request" in state["text"]


def test_the_worker_that_leaks_most_is_traced(server: Whole) -> None:
    """Else the one that has had most requests."""
    found = server.keeper.leaking
    server.page.slots[0].requests = 500
    leak(server, 1)

    assert found.tracing.begin(None, 10.0, 400 * MIB).startswith("worker 1 ")
    assert found.tracing.traced == 1
    assert server.kinds(1) == ["Trace"]

    found.tracing.heard(server.crew.members[1], report())
    server.dies(1, KILLED)
    server.start()
    assert found.tracing.begin(None, 10.0, 400 * MIB).startswith("worker 0 ")


@pytest.mark.usefixtures("chatty")
def test_its_report_is_kept_and_logged(server: Whole, said: Said) -> None:
    """Until the next trace begins."""
    found = server.keeper.leaking
    found.tracing.begin(0, 10.0, 400 * MIB)
    assert found.state()["state"] == "running"

    server.safeguards.on_message(server.crew.members[0], Traced(dict(report())))

    state = found.state()
    assert (state["state"], state["detail"]) == ("done", "")
    assert state["report"] == report()
    assert state["text"].startswith("in 7.5 s 1,200 requests left 75 MB")
    assert state["text"] in said()
    found.tracing.begin(0, 10.0, 400 * MIB)
    assert found.state()["report"] is None


def test_one_trace_at_a_time(server: Whole) -> None:
    """It slows its worker down."""
    found = server.keeper.leaking
    found.tracing.begin(0, 10.0, 400 * MIB)

    assert refusal(lambda: found.tracing.begin(1, 10.0, 400 * MIB)) == (
        "worker 0 is being traced already: ask again when it is done"
    )


@pytest.mark.parametrize("seconds", [0, -1, LONGEST_TRACE_SECONDS + 1])
def test_a_trace_is_of_bounded_length(server: Whole, seconds: float) -> None:
    """Nobody waits for ever."""
    said = refusal(lambda: server.keeper.leaking.tracing.begin(0, seconds, 400 * MIB))

    assert said == "trace for at most 120 s"


def test_a_worker_that_does_not_serve_cannot_be_traced(server: Whole) -> None:
    """Those that do are named."""
    found = server.keeper.leaking

    assert refusal(lambda: found.tracing.begin(5, 10.0, 400 * MIB)) == (
        "there is no worker 5 that serves; those that do: 0, 1"
    )
    server.crew.stop()
    assert refusal(lambda: found.tracing.begin(None, 10.0, 400 * MIB)).endswith(
        "those that do: none"
    )


def test_a_worker_that_does_not_listen_is_not_taken_for_traced(server: Whole) -> None:
    """Its end of the channel is closed."""
    server.ends[0].close()

    said = refusal(lambda: server.keeper.leaking.tracing.begin(0, 10.0, 400 * MIB))

    assert said == "worker 0 does not answer: try another one"
    assert server.keeper.leaking.tracing.traced is None


def test_a_trace_ends_with_its_worker(server: Whole, said: Said) -> None:
    """And says so to whoever asks."""
    server.keeper.leaking.tracing.begin(0, 10.0, 400 * MIB)
    server.dies(0, KILLED)

    state = server.keeper.leaking.state()
    assert state["state"] == "idle"
    assert state["detail"].startswith("the worker ended before the trace was over")
    assert state["detail"] in said()


def test_a_worker_that_does_not_report_is_waited_for_no_longer(server: Whole) -> None:
    """It may be stuck; another trace can begin."""
    found = server.keeper.leaking
    found.tracing.begin(0, 10.0, 400 * MIB)
    server.look(100, after_seconds=24)
    assert found.state()["state"] == "running"

    server.look(100, after_seconds=2)

    assert found.state()["detail"].startswith("the worker has not reported in time")
    found.tracing.begin(0, 10.0, 400 * MIB)


def test_a_leak_is_traced_unasked_where_the_user_wants_that() -> None:
    """Once an hour at most."""
    with scene(Whole, flags={"leak_report": "true"}) as server:
        server.look(100)
        server.messages(0)
        found = leak(server)
        assert server.kinds(0) == ["Trace"]
        found.tracing.heard(server.crew.members[0], report())

        server.dies(0, KILLED)
        server.start()
        leak(server)
        assert server.kinds(0) == []

        server.dies(0, KILLED)
        server.now_seconds += 3600
        server.start()
        leak(server)
        assert server.kinds(0) == ["Trace"]


def test_a_trace_cut_short_is_made_again_if_it_saw_nothing() -> None:
    """Its worker had to go at CRITICAL; the report of one that saw something counts."""
    with scene(Whole, flags={"leak_report": "true"}) as server:
        server.look(100)
        leak(server)
        server.keeper.leaking.tracing.heard(server.crew.members[0], report(ended="early"))
        server.dies(0, KILLED)
        server.messages(1)

        server.look(100, after_seconds=1.1)

        assert server.kinds(1) == ["Trace"]
        assert server.keeper.leaking.state()["state"] == "running"


def test_a_leak_that_leaves_no_room_is_traced_once_there_is_some(said: Said) -> None:
    """After the recycle, in a successor, which runs the same code; why it waits is said once."""
    with scene(Whole, flags={"leak_report": "true"}) as server:
        server.look(100)
        # Not by a look, which would have the worker recycled.
        server.page.header.used_bytes = 500 * MIB
        found = leak(server)
        assert server.kinds(0) == []
        assert "the leak is not traced yet, but as soon as it can be: tracing needs 16 MB" in said()

        server.dies(0, KILLED)
        server.start()
        server.look(200, after_seconds=1.1)
        assert found.tracing.traced is not None
        assert said().count("not traced yet") == 1


def test_why_a_leak_is_not_traced_yet_is_said_once(said: Said) -> None:
    """However long there is no room for the trace."""
    with scene(Whole, flags={"leak_report": "true"}) as server:
        server.look(100)
        server.page.header.used_bytes = 500 * MIB
        found = leak(server)
        leak(server, 1)

        assert found.tracing.traced is None
        assert said().count("not traced yet") == 1


def test_the_report_of_a_trace_that_was_given_up_is_kept(server: Whole) -> None:
    """It comes late, while another worker is traced already: that trace goes on."""
    found = server.keeper.leaking
    found.tracing.begin(0, 10.0, 400 * MIB)
    server.look(100, after_seconds=26)
    found.tracing.begin(1, 10.0, 400 * MIB)

    found.tracing.heard(server.crew.members[0], report())

    assert found.tracing.traced == 1
    assert found.state()["report"] == report()


def test_nobody_is_traced_while_memory_is_critical() -> None:
    """Whoever is would be recycled at once."""
    with scene(Whole, flags={"leak_report": "true"}) as server:
        server.look(465)
        found = leak(server)
        assert found.tracing.traced is None

        for _ in range(8):
            server.look(200, after_seconds=0.5)
        assert found.tracing.traced is not None


def test_an_automatic_trace_is_tried_three_times_at_most() -> None:
    """A worker that ends whenever it is traced is not traced for ever."""
    with scene(Whole, flags={"leak_report": "true"}) as server:
        server.look(100)
        found, traces = leak(server), 0
        for _ in range(8):
            if found.tracing.traced is not None:
                traces += 1
                server.dies(found.tracing.traced, KILLED)
                server.now_seconds += 60
                server.start()
            server.look(100, after_seconds=1.1)

        assert traces == 3


@pytest.mark.parametrize(("free_mb", "budget_mb"), [(400, 64), (63, 15.75), (16, 4)])
def test_the_budget_of_a_trace_is_a_share_of_what_is_free(
    server: Whole, free_mb: int, budget_mb: float
) -> None:
    """A quarter, within bounds."""
    server.messages(0)
    server.keeper.leaking.tracing.begin(0, 10.0, free_mb * MIB)

    (message,) = server.messages(0)
    assert message.budget_bytes == budget_mb * MIB


def test_a_worker_that_does_not_answer_is_asked_for_one_collection(server: Whole) -> None:
    """It is in a blocking call, and would find all of them waiting after it."""
    pid = server.crew.members[0].pid
    assert pid is not None
    server.messages(0)
    for tenth in range(200):
        server.now_seconds += 0.1
        held = int((20 + tenth) * MIB)
        server.keeper.leaking.glance({0: Reading(pid, held, 0, held)}, 100 * MIB)
    assert len(server.messages(0)) == 1

    server.reclaimed(0, own_bytes=held, why="it grows")
    for tenth in range(50):
        server.now_seconds += 0.1
        held = int((220 + tenth) * MIB)
        server.keeper.leaking.glance({0: Reading(pid, held, 0, held)}, 100 * MIB)
    assert len(server.messages(0)) == 1
