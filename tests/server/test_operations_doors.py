"""Every door, every address of operators, every action: with and without the right to it.

Real servers. What is let in is told by a table; besides, no answer and no line of the log may have
a secret in it.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from tests.support.server import Response, Running, connection_to
from tests.support.waiting import await_true

from tonnage.ops.login import issue
from tonnage.ops.page.files import PARTS
from tonnage.web.doorman import ATTEMPTS

pytestmark = pytest.mark.real

TOKEN, GUESS, PASSWORD = "s3cret-of-operators", "s3cret-guess", "s3cret-of-the-database"
ENVIRONMENT = {"DATABASE_URL": f"postgresql://ann:{PASSWORD}@db.example/shop"}
APP = ("tests.server.operated:app", "--memory", "512M", "--workers", "1")

PUBLIC: Final = ("/health", "/health/ready", "/tonnage/page.css", "/tonnage/icon.svg")
#: Seen by operators by what the supervisor shows: after a log-in as well.
SHOWN: Final = (
    *("/tonnage", "/tonnage/state", "/tonnage/history", "/tonnage/live"),
    *(f"/tonnage/{part}" for part in PARTS if f"/tonnage/{part}" not in PUBLIC),
)
METRICS: Final = ("/metrics", "/tonnage/metrics", "/tonnage/metrics.json")
#: Seen by operators by what a worker has itself.
OWN: Final = ("/health/memory", "/security/events")
#: Of the page; what may be done without harm is done.
PRESSED: Final = (
    *("/tonnage/act/reclaim", "/tonnage/act/cache/clear?name=operated"),
    # There is no such worker: who may gets 409.
    "/tonnage/act/recycle?worker=9",
)
#: Of the supervisor's own doors.
ACTIONS: Final = ("/reclaim", "/cache/clear?name=operated", "/recycle?worker=9")
ASKED: Final = ("/status", "/postmortems", "/leaks", "/reclaim")

BEHIND_PROXY: Final = {"X-Forwarded-For": "203.0.113.7"}
PROOF: Final = {"X-Tonnage-Action": "1", "Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Place:
    """Where a request comes from."""

    host: str
    headers: dict[str, str]

    @property
    def is_local(self) -> bool:
        """Whether being there opens what is open to this machine."""
        return self.host == "127.0.0.1" and not self.headers


def own_address() -> str:
    """Return an address of this machine that is not loopback's; empty if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            # Nothing is sent: the kernel chooses the address that it would send from.
            asking.connect(("198.51.100.1", 9))
        except OSError:
            return ""
        address = str(asking.getsockname()[0])
    return "" if address.startswith("127.") else address


PLACES: Final = [
    Place("127.0.0.1", {}),
    Place("127.0.0.1", BEHIND_PROXY),
    *([Place(address, {})] if (address := own_address()) else []),
]


def cookie(token: str, now_seconds: float) -> dict[str, str]:
    """Return the header of a browser that has logged in with *token*."""
    made = issue(token, now_seconds, path="/tonnage", secure=False)
    return {"Cookie": made.decode().partition(";")[0]}


CREDENTIALS: Final = {
    "none": {},
    "wrong cookie": cookie(GUESS, time.time()),
    "expired cookie": cookie(TOKEN, time.time() - 13 * 3600),
    "right cookie": cookie(TOKEN, time.time()),
    "right cookie and proof": cookie(TOKEN, time.time()) | PROOF,
    "right token": {"Authorization": f"Bearer {TOKEN}"},
    # Last: after a few, no token of a client opens anything for a while.
    "wrong token": {"Authorization": f"Bearer {GUESS}"},
}


class Doors:
    """A server and what it has said so far."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.admin_port = int(server.banner("admin").split(":")[2].partition("/")[0])
        self.said = b""

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        host: str = "127.0.0.1",
        port: int = 0,
        body: str = "",
    ) -> Response:
        """Return the answer; of a stream, the beginning."""
        connection = http.client.HTTPConnection(host, port or self.server.port, timeout=20)
        connection.request(method, path, body or None, headers=headers)
        return self._read(connection)

    def ask_control(self, method: str, path: str, headers: dict[str, str]) -> Response:
        """Ask on the control socket."""
        with connection_to(f"http+unix://{self.server.control}", 20.0) as connection:
            connection.request(method, path, headers=headers)
            return self._read(connection)

    def _read(self, connection: http.client.HTTPConnection) -> Response:
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        is_stream = found.get("transfer-encoding") == "chunked"
        body = answer.read1() if is_stream else answer.read()
        answer.close()
        connection.close()
        self.said += repr(found).encode() + body
        return Response(answer.status, found, body)


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    """Yield a server with a token, on all addresses, with an admin port."""
    environment = ENVIRONMENT | {"TONNAGE_ADMIN_TOKEN": TOKEN}
    arguments = (*APP, "--host", "0.0.0.0", "--admin-port", "0")
    with Running(*arguments, env=environment) as server:
        yield Doors(server)


def test_a_person_logs_in_and_out(doors: Doors) -> None:
    """From elsewhere, by the form; as a browser does it. First, since others here guess."""
    browser = BEHIND_PROXY | {"Content-Type": "application/x-www-form-urlencoded"}
    led = doors.ask("GET", "/tonnage", browser)
    assert (led.status, led.headers["location"]) == (303, "/tonnage/login")
    form = doors.ask("GET", "/tonnage/login", browser)
    assert b'method="post" action="login"' in form.body

    wrong = doors.ask("POST", "/tonnage/login", browser, body=f"token={GUESS}")
    assert (wrong.status, wrong.headers["content-type"]) == (403, form.headers["content-type"])
    assert len(wrong.body) > len(form.body)
    right = doors.ask("POST", "/tonnage/login", browser, body=f"token={TOKEN}")
    assert (right.status, right.headers["location"]) == (303, "/tonnage")

    browser["Cookie"] = right.headers["set-cookie"].partition(";")[0]
    assert doors.ask("GET", "/tonnage", browser).status == 200
    assert doors.ask("POST", PRESSED[0], browser | PROOF).status == 202
    assert doors.ask("POST", "/tonnage/logout", browser).status == 403
    out = doors.ask("POST", "/tonnage/logout", browser | PROOF)
    assert out.headers["set-cookie"].startswith("tonnage_login=; Max-Age=0")


def test_the_applications_port(doors: Doors) -> None:
    """Each address from each place with each credential."""
    differing = []
    for named, sent in CREDENTIALS.items():
        for place in PLACES:
            for method, path, expected in expectations(named, place):
                answer = doors.ask(method, path, place.headers | sent, place.host)
                if answer.status not in expected:
                    differing.append((named, place, method, path, answer.status, answer.body[:99]))
    assert not differing


def expectations(named: str, place: Place) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield method, path and the statuses that are right."""
    # A wrong token is refused from this machine too.
    sees = (place.is_local and named != "wrong token") or named == "right token"
    has_login = "right cookie" in named
    # Guessing is refused with another status once there was too much of it.
    no = (403, 429) if named == "wrong token" else (403,)
    for path in PUBLIC:
        yield "GET", path, (200,)
    yield "GET", "/tonnage/login", (200,)
    for path in (*SHOWN, *METRICS):
        led = (303, *no) if path == "/tonnage" else no
        yield "GET", path, (200,) if sees or has_login else led
        yield "POST", path, (405,)
    for path in OWN:
        yield "GET", path, (200,) if sees else no
    yield "POST", "/cache/clear?name=operated", (200,) if sees else no
    presses = named in ("right token", "right cookie and proof")
    for path in PRESSED:
        yield "POST", path, (202, 409) if presses else no
        yield "GET", path, (405,)
    # The supervisor's own actions are the application's paths here.
    yield "POST", "/reclaim", (200,)


def test_the_admin_port(doors: Doors) -> None:
    """The supervisor itself: loopback sees, the token acts; and the page of who has logged in."""
    differing = []
    for named, sent in CREDENTIALS.items():
        for place in PLACES[:2]:
            sees = (place.is_local and named != "wrong token") or "right" in named
            acts = named == "right token"
            presses = acts or named == "right cookie and proof"
            table = [
                *(("GET", path, sees) for path in (*SHOWN, "/metrics", "/api/metrics", "/logs")),
                *(("GET", path, acts) for path in ASKED),
                *(("POST", path, acts) for path in ACTIONS),
                *(("POST", path, presses) for path in PRESSED),
            ]
            for method, path, may in table:
                answer = doors.ask(method, path, place.headers | sent, port=doors.admin_port)
                if (answer.status == 403) is may or answer.status not in (200, 202, 403, 409):
                    differing.append((named, place, method, path, answer.status))
    assert not differing


def test_the_control_socket(doors: Doors) -> None:
    """Whoever can open it may do everything: the file's permissions have decided."""
    for path in (*SHOWN, *ASKED, "/metrics", "/api/metrics", "/logs", "/health/memory"):
        assert doors.ask_control("GET", path, BEHIND_PROXY).status == 200, path
    for path in (*ACTIONS, *PRESSED):
        assert doors.ask_control("POST", path, BEHIND_PROXY).status in (202, 409), path


def test_guessing_comes_to_an_end(doors: Doors) -> None:
    """And with it what the right token opens, for this client; others are not kept out."""
    here = {"X-Forwarded-For": "203.0.113.7"}
    for _ in range(ATTEMPTS):
        doors.ask("GET", "/metrics", here | {"Authorization": f"Bearer {GUESS}"})

    assert doors.ask("GET", "/metrics", here | {"Authorization": f"Bearer {TOKEN}"}).status == 429
    assert doors.ask("GET", "/metrics", {}).status == 200
    events = doors.ask("GET", "/security/events?limit=400", {}).json()["events"]
    assert {"operator_failed"} == {event["kind"] for event in events}
    state = doors.ask_control("GET", "/tonnage/state", {}).json()
    assert any("has shown a wrong token at" in event["text"] for event in state["events"])


def test_no_secret_is_told(doors: Doors) -> None:
    """By any answer so far, by the log, or by a report on what the server is doing."""
    (worker,) = doors.server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    await_true(lambda: reports(doors), "a post-mortem", 20.0)
    for path in (*SHOWN, *METRICS[:1], *ASKED, "/logs", f"/postmortems/{reports(doors)[0]}.txt"):
        doors.ask_control("GET", path, {})

    assert b"SIGKILL" in doors.said
    for secret in (TOKEN, GUESS, PASSWORD):
        assert secret.encode() not in doors.said
        assert secret not in doors.server.log


def reports(doors: Doors) -> list[str]:
    """Return the names of the reports on what has died."""
    answer = doors.ask_control("GET", "/postmortems", {})
    return [each["name"] for each in answer.json()["reports"]]


@pytest.fixture(scope="module")
def open_house() -> Iterator[Doors]:
    """Yield a server without a token, whose application has metrics of its own."""
    arguments = ("tests.server.operated:own", *APP[1:], "--host", "0.0.0.0", "--admin-port", "0")
    with Running(*arguments, env=ENVIRONMENT) as server:
        yield Doors(server)


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({"X-Tonnage-Action": "1", "Origin": "http://127.0.0.1:{port}"}, True),
        (PROOF, True),
        ({"Host": "localhost:{port}", "Origin": "http://localhost:{port}"} | PROOF, True),
        # A form, which can send no header of its own; a link; a program that says nothing.
        ({"Origin": "http://127.0.0.1:{port}"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"X-Tonnage-Action": "1"}, False),
        ({}, False),
        # A page of another site, of another port of this machine, of a file.
        (PROOF | {"Sec-Fetch-Site": "cross-site"}, False),
        (PROOF | {"Sec-Fetch-Site": "same-site"}, False),
        ({"X-Tonnage-Action": "1", "Origin": "https://evil.example"}, False),
        ({"X-Tonnage-Action": "1", "Origin": "http://127.0.0.1:1"}, False),
        ({"X-Tonnage-Action": "1", "Origin": "null"}, False),
        # Another name was made to lead here.
        ({"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"} | PROOF, False),
        (PROOF | BEHIND_PROXY, False),
        # And a token that nobody has set.
        ({"Authorization": "Bearer "}, False),
        ({"Authorization": "Bearer None"}, False),
    ],
)
def test_pages_of_other_sites_press_nothing(
    open_house: Doors, headers: dict[str, str], may: bool
) -> None:
    """Without a token, this machine's own page acts: shown by what a browser cannot be made say."""
    for port in (open_house.server.port, open_house.admin_port):
        sent = {name: value.format(port=port) for name, value in headers.items()}
        for path in PRESSED:
            answer = open_house.ask("POST", path, sent, port=port)
            assert answer.status in ((202, 409) if may else (403,))


def test_without_a_token_others_are_told_what_to_set(open_house: Doors) -> None:
    """From wherever they ask."""
    for place in PLACES[1:]:
        for path in ("/tonnage", "/tonnage/state", "/tonnage/login", "/tonnage/metrics"):
            answer = open_house.ask("GET", path, place.headers, place.host)
            assert answer.status == 403
            assert "set TONNAGE_ADMIN_TOKEN" in answer.json()["detail"]
        assert open_house.ask("POST", PRESSED[0], PROOF | place.headers, place.host).status == 403


def test_the_banner_says_who_is_shown_nothing(open_house: Doors, doors: Doors) -> None:
    """Where others can ask, and none of them can be let in."""
    told = "page, metrics and memory figures are shown to this machine alone"
    assert told in open_house.server.log
    assert told not in doors.server.log


def test_the_applications_own_metrics_stay_its_own(open_house: Doors) -> None:
    """Ours are below the page; and the log says so."""
    assert open_house.ask("GET", "/metrics", {}).body == b"application"
    assert open_house.ask("GET", "/tonnage/metrics", {}).body.startswith(b"# HELP tonnage_")
    assert "/metrics is the application's own route" in open_house.server.log


def test_a_stream_outlives_its_worker_as_browsers_do(open_house: Doors) -> None:
    """It ends when the worker is replaced, and begins again with the next one."""
    connection = http.client.HTTPConnection("127.0.0.1", open_house.server.port, timeout=20)
    connection.request("GET", "/tonnage/live")
    stream = connection.getresponse()
    assert stream.read1().startswith(b"retry: 1000")
    (before,) = open_house.server.worker_pids()
    assert open_house.ask_control("POST", "/recycle?worker=0", {}).status == 202

    assert b"data: " in stream.read()
    stream.close()
    connection.close()

    await_true(lambda: before not in open_house.server.worker_pids(), "a new worker", 20.0)
    again = open_house.ask("GET", "/tonnage/live", {})
    assert again.body.startswith(b"retry: 1000")


def test_a_stuck_server_shows_itself(open_house: Doors) -> None:
    """The supervisor answers on the application's port while its only worker is stuck."""
    await_true(lambda: len(workers(open_house)) == 1, "the last worker's end", 20.0)
    with open_house.server.connect() as waiting:
        waiting.sendall(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        await_true(lambda: "STUCK" in str(workers(open_house)), "a stuck worker", 20.0)
        state = open_house.ask("GET", "/tonnage/state", {}).json()
        assert [worker["state"] for worker in state["status"]["workers"]] == ["STUCK"]
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")


def workers(doors: Doors) -> list[object]:
    """Return the workers that there are, also those about to end."""
    found: list[object] = doors.ask_control("GET", "/health/memory", {}).json()["workers"]
    return found
