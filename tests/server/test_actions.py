"""The actions, asked as the supervisor's sockets ask: method, path and query in, JSON out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.server.conftest import Said

from tonnage.answer import Answer
from tonnage.errors import ActionError
from tonnage.governor.page import MAX_WORKERS, SharedPage
from tonnage.governor.statistics import WorkerState, read_statistics
from tonnage.server.actions import LONGEST_TRACE_SECONDS, USUAL_TRACE_SECONDS, Actions
from tonnage.server.conversation import Head, read_head
from tonnage.stores import roster
from tonnage.units import MIB

NAME = "20261122T045500Z-worker1-oom"


class Hand:
    """An operator that notes what it is asked to do, and answers what a test has prepared."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.ready_workers = 2
        self.refusal: str | None = None
        # What is told one after the other; the last one for ever.
        self.reclaims: list[dict[str, Any]] = [{}]
        self.traces: list[dict[str, Any]] = [{"state": "idle", "leaks": [], "report": None}]
        self.reports: dict[str, dict[str, Any]] = {}

    def reclaim(self) -> int:
        """Note it."""
        self.asked.append(("reclaim",))
        return self.ready_workers

    def reclaimed(self) -> dict[str, Any]:
        """Return the next state."""
        return self.reclaims.pop(0) if len(self.reclaims) > 1 else self.reclaims[0]

    def recycle(self, worker: int | None) -> str:
        """Note it, or refuse."""
        self._refuse()
        self.asked.append(("recycle", worker))
        return "all workers are replaced in turn" if worker is None else f"worker {worker} is"

    def trace_leaks(self, worker: int | None, seconds: float) -> str:
        """Note it, or refuse."""
        self._refuse()
        self.asked.append(("trace", worker, seconds))
        return "tracing"

    def leaks(self) -> dict[str, Any]:
        """Return the next state."""
        return self.traces.pop(0) if len(self.traces) > 1 else self.traces[0]

    def clear_caches(self, name: str | None) -> str:
        """Note it, or refuse."""
        self._refuse()
        self.asked.append(("clear", name))
        return f"2 worker(s) clear {name or 'all caches'}"

    def postmortems(self) -> list[dict[str, Any]]:
        """Return the prepared ones."""
        return [
            {"name": name, "summary": f"about {name}"}
            | {key: report[key] for key in ("application", "is_own") if key in report}
            for name, report in self.reports.items()
        ]

    def postmortem(self, name: str) -> dict[str, Any] | None:
        """Return the prepared one."""
        self.asked.append(("postmortem", name))
        return self.reports.get(name)

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise ActionError(self.refusal)


# Of a server in which nobody has made a cache.
pytestmark = pytest.mark.usefixtures("own_commons")


@pytest.fixture
def hand() -> Hand:
    """Return an operator."""
    return Hand()


def ask(
    hand: Hand, line: str, *headers: str, allowed: bool = True, page: SharedPage | None = None
) -> tuple[int, Any]:
    """Return status and JSON of the answer to *line*, such as ``POST /recycle?worker=0``."""
    answer = answered(hand, line, *headers, allowed=allowed, page=page)
    return answer.status, json.loads(answer.body)


def answered(
    hand: Hand, line: str, *headers: str, allowed: bool = True, page: SharedPage | None = None
) -> Answer:
    """Return the answer itself."""
    shared = page or SharedPage()
    actions = Actions(hand, lambda: read_statistics(shared, 10**9))
    head = head_of(line, *headers)
    assert actions.has(head.path)
    return actions.answer(head, allowed=allowed)


def head_of(line: str, *headers: str) -> Head:
    """Return the head of a request."""
    lines = (f"{line} HTTP/1.1", "Host: tonnage", *headers, "", "")
    head = read_head("\r\n".join(lines).encode())
    assert head is not None
    return head


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("POST /reclaim", ("reclaim",)),
        ("POST /recycle", ("recycle", None)),
        ("POST /recycle?worker=3", ("recycle", 3)),
        ("POST /leaks", ("trace", None, USUAL_TRACE_SECONDS)),
        ("POST /leaks?seconds=2.5&worker=0", ("trace", 0, 2.5)),
        ("POST /leaks?worker=1&seconds=2m", ("trace", 1, 120.0)),
        ("POST /cache/clear", ("clear", None)),
        ("POST /cache/clear?name=events", ("clear", "events")),
        (f"GET /postmortems/{NAME}", ("postmortem", NAME)),
        (f"GET /postmortems/{NAME}.json", ("postmortem", NAME)),
        (f"GET /postmortems/{NAME}.txt", ("postmortem", NAME)),
    ],
)
def test_the_operator_is_asked(hand: Hand, line: str, asked: tuple[object, ...]) -> None:
    """With what the query says, or what is usual."""
    ask(hand, line)

    assert hand.asked == [asked]


def test_a_cache_that_no_worker_has_is_404_with_those_there_are(hand: Hand) -> None:
    """And nobody is asked."""
    roster.enter("events")
    status, body = ask(hand, "POST /cache/clear?name=nosuch")

    assert (status, hand.asked) == (404, [])
    assert body["detail"] == "there is no cache called 'nosuch'; there are 'events'"
    assert ask(hand, "POST /cache/clear?name=events")[0] == 202


@pytest.mark.parametrize("line", ["POST /reclaim", "POST /recycle?worker=1", "POST /leaks"])
def test_an_action_that_has_begun_is_202_with_a_sentence(hand: Hand, line: str) -> None:
    """It goes on after the answer."""
    status, body = ask(hand, line)

    assert status == 202
    assert body["detail"]


def test_a_trace_says_how_long_it_takes(hand: Hand) -> None:
    """Whoever waits for it needs to know."""
    assert ask(hand, "POST /leaks?seconds=500ms&worker=2") == (
        202,
        {"worker": 2, "seconds": 0.5, "detail": "tracing"},
    )


def test_a_refusal_is_409_with_its_reason(hand: Hand) -> None:
    """The operator's sentence."""
    hand.refusal = "worker 1 is being replaced already"

    for line in ("POST /recycle?worker=1", "POST /leaks"):
        body = {"error": "refused", "detail": "worker 1 is being replaced already"}
        assert ask(hand, line) == (409, body)


def test_reclaiming_with_nobody_to_ask_is_refused(hand: Hand) -> None:
    """No worker is ready."""
    hand.ready_workers = 0

    status, body = ask(hand, "POST /reclaim")

    assert status == 409
    assert "no worker to ask" in body["detail"]


def test_results_are_asked_for_later(hand: Hand) -> None:
    """What came of the last reclaim, and of the last trace."""
    hand.reclaims = [{"state": "done", "freed_bytes": 5}]
    hand.traces = [{"state": "running", "leaks": [], "report": None}]

    assert "`tonnage reclaim`" in ask(hand, "POST /reclaim")[1]["detail"]
    assert ask(hand, "GET /reclaim") == (200, {"state": "done", "freed_bytes": 5})
    assert ask(hand, "GET /leaks") == (200, {"state": "running", "leaks": [], "report": None})


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("POST /recycle?worker=one", "is no worker: `tonnage status` shows their index"),
        ("POST /recycle?worker=-1", "is no worker"),
        (f"POST /recycle?worker={MAX_WORKERS}", "is no worker"),
        ("POST /recycle?worker=", "is no worker"),
        ("POST /recycle?worker=0&worker=1", "the query may hold worker, once each"),
        ("POST /recycle?wroker=0", "the query may hold worker, once each"),
        ("POST /recycle?worker", "is not of the form name=value"),
        ("POST /reclaim?worker=0", "the query may hold nothing"),
        ("POST /leaks?seconds=0", "is not a duration from 0.5 to 120 seconds"),
        (f"POST /leaks?seconds={LONGEST_TRACE_SECONDS + 1}", "is not a duration"),
        ("POST /leaks?seconds=nan", "is not a duration"),
        ("GET /leaks?seconds=3", "the query may hold nothing"),
    ],
)
def test_nonsense_is_400_and_nothing_is_done(hand: Hand, line: str, detail: str) -> None:
    """A slip may not recycle every worker."""
    status, body = ask(hand, line)

    assert (status, body["error"]) == (400, "bad_request")
    assert detail in body["detail"]
    assert hand.asked == []


@pytest.mark.parametrize("header", ["Content-Length: 8", "Transfer-Encoding: chunked"])
def test_a_body_is_refused(hand: Hand, header: str) -> None:
    """Who sends worker=0 as a form must not see all workers recycled."""
    status, body = ask(hand, "POST /recycle", header)

    assert status == 400
    assert "POST /recycle?worker=0" in body["detail"]
    assert hand.asked == []


def test_an_empty_body_is_none(hand: Hand) -> None:
    """Many clients announce one with each POST."""
    assert ask(hand, "POST /recycle", "Content-Length: 0")[0] == 202


@pytest.mark.parametrize(
    ("line", "allow"),
    [
        ("GET /recycle", "POST"),
        ("HEAD /recycle", "POST"),
        ("DELETE /leaks", "GET, HEAD, POST"),
        ("POST /status", "GET, HEAD"),
        (f"DELETE /postmortems/{NAME}", "GET, HEAD"),
    ],
)
def test_another_method_is_405_with_what_is_allowed(hand: Hand, line: str, allow: str) -> None:
    """A link or an image in a page can ask with GET, so no action is done by it."""
    answer = answered(hand, line)

    assert answer.status == 405
    assert dict(answer.headers) == {b"allow": allow.encode()}
    assert allow in json.loads(answer.body)["detail"]
    assert hand.asked == []


@pytest.mark.parametrize("line", ["POST /recycle", "GET /status", f"GET /postmortems/{NAME}"])
def test_who_may_not_act_is_told_how_to(hand: Hand, line: str) -> None:
    """Reports hold addresses and code, so they are not shown either."""
    hand.reports = {NAME: {"text": "dead"}}

    status, body = ask(hand, line, allowed=False)

    assert status == 403
    assert "Authorization: Bearer" in body["detail"]
    assert hand.asked == []


def test_reports_are_listed(hand: Hand) -> None:
    """As the operator has them, newest first."""
    hand.reports = {NAME: {}, "older": {}}

    status, body = ask(hand, "GET /postmortems")

    assert status == 200
    assert [report["name"] for report in body["reports"]] == [NAME, "older"]


@pytest.mark.parametrize(
    ("path", "accept", "is_text"),
    [
        (NAME, "*/*", False),
        (NAME, "text/plain", True),
        (NAME, "application/json, text/plain;q=0.5", False),
        (f"{NAME}.txt", "application/json", True),
        (f"{NAME}.json", "text/plain", False),
    ],
)
def test_a_report_is_json_or_text(hand: Hand, path: str, accept: str, is_text: bool) -> None:
    """The end of the name says which, else what the client accepts."""
    hand.reports = {NAME: {"cause": "oom", "text": "the kernel killed it — for want of memory"}}

    answer = answered(hand, f"GET /postmortems/{path}", f"Accept: {accept}")

    types = [value for name, value in answer.all_headers() if name == b"content-type"]
    if is_text:
        assert types == [b"text/plain; charset=utf-8"]
        assert answer.body.decode() == "the kernel killed it — for want of memory"
    else:
        assert types == [b"application/json"]
        assert json.loads(answer.body) == {"cause": "oom"}


@pytest.mark.parametrize(
    "name", ["none", "", "..", "../passwd", "a/b", "%2e%2e", ".hidden", "x" * 200, "a%00", ".txt"]
)
def test_what_is_no_report_is_404(hand: Hand, name: str) -> None:
    """And a name that leads elsewhere is not even asked for."""
    status, body = ask(hand, f"GET /postmortems/{name}")

    assert status == 404
    assert "GET /postmortems lists them" in body["detail"]
    assert hand.asked in ([], [("postmortem", "none")])


def test_the_status_is_the_record_of_statistics(hand: Hand) -> None:
    """With states by name, and sizes in bytes."""
    page = SharedPage()
    page.use_slots(1)
    page.header.limit_bytes, page.header.used_bytes = 512 * MIB, 128 * MIB
    slot = page.slots[0]
    slot.pid, slot.state = 4711, WorkerState.READY

    status, body = ask(hand, "GET /status", page=page)

    assert status == 200
    assert (body["level"], body["used_bytes"], body["usage_percent"]) == ("OK", 128 * MIB, 25.0)
    assert [(each["index"], each["pid"], each["state"]) for each in body["workers"]] == [
        (0, 4711, "READY")
    ]


def test_an_action_that_fails_does_not_end_the_server(hand: Hand, said: Said) -> None:
    """A full disk, or whatever it was, is logged."""
    hand.reports = {NAME: {}}  # without its text

    status, body = ask(hand, f"GET /postmortems/{NAME}.txt")

    assert (status, body["error"]) == (500, "internal_error")
    assert f"GET /postmortems/{NAME}.txt failed" in said()


def test_other_paths_are_not_ours(hand: Hand) -> None:
    """They are answered by somebody else, or not found."""
    actions = Actions(hand, lambda: read_statistics(SharedPage(), 0))

    assert not any(map(actions.has, ("/health", "/", "/recycle/", "/postmortem", "/statuses")))
