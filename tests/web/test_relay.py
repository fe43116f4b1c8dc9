"""The page and the metrics in a worker: who is let in, and what the supervisor is asked then."""

from __future__ import annotations

import asyncio
import socket
from html import escape
from typing import Any

import pytest
from tests.web.backstage import LOCAL, REMOTE, TOKEN, Backstage
from tests.web.world import Response, call, http, until

from tonnage.answer import Answer
from tonnage.ops.login import COOKIE, HIDDEN, SHOWN, issue
from tonnage.ops.page.files import POLICY, send
from tonnage.ops.places import Places
from tonnage.server.conversation import MOST_CONNECTIONS
from tonnage.stores.security.monitor import SecurityMonitor
from tonnage.web.doorman import ATTEMPTS
from tonnage.web.form import LONGEST_BYTES
from tonnage.web.live import MOST_STREAMS
from tonnage.web.proxy import Proxied
from tonnage.web.question import MOST_QUESTIONS
from tonnage.web.relay import MOST_KEPT_BYTES
from tonnage.web.respond import Message

BEARER = {"authorization": f"Bearer {TOKEN}"}
FORM = {"content_type": "application/x-www-form-urlencoded"}
JSON = "application/json"
OURS = {"x_tonnage_action": "1", "sec_fetch_site": "same-origin"}


pytestmark = pytest.mark.usefixtures("own_commons")


def header(answer: Response, name: bytes) -> bytes | None:
    """Return the header *name* of *answer*."""
    return dict(answer.headers).get(name)


def cookie(token: str = TOKEN, now_seconds: float = 4e9) -> dict[str, str]:
    """Return what a browser sends that has logged in; it holds for long."""
    made = issue(token, now_seconds, path="/ops", secure=False)
    return {"cookie": made.decode().partition(";")[0]}


async def test_what_the_supervisor_shows_is_passed_on() -> None:
    """With its type and its headers, and with those that keep a browser on our side."""
    async with Backstage() as stage:
        page = await stage.ask("/ops", query="a=%20b&c=d", **BEARER)
        head = await stage.ask("/ops", method="HEAD", **BEARER)

    assert (page.status, page.body) == (200, b"/ops a=%20b&c=d")
    assert dict(page.headers) == {
        b"content-type": b"text/html",
        b"content-length": b"15",
        b"cache-control": b"no-store",
        b"x-own": b"1",
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"same-origin",
        b"content-security-policy": b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    }
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/metrics", "/metrics"),
        ("/ops/metrics", "/metrics"),
        ("/ops/metrics.json", "/api/metrics"),
        ("/ops/state", "/ops/state"),
    ],
)
async def test_each_path_has_its_view(path: str, asked: str) -> None:
    """Metrics are where they are wanted, whatever the supervisor calls them."""
    async with Backstage() as stage:
        assert (await stage.ask(path, **BEARER)).status == 200
        assert stage.asked == [asked]


@pytest.mark.parametrize("path", ["/ops/nosuch", "/ops//", "/ops/act/leaks", "/ops/../status"])
async def test_nothing_below_the_page_reaches_the_application(path: str) -> None:
    """Nor the rest of what the supervisor can do."""
    async with Backstage() as stage:
        assert (await stage.ask(path, **BEARER)).status == 404
        assert (await stage.ask("/opsy", **BEARER)).status == 299
        scope: dict[str, Any] = {"type": "websocket", "path": path, "headers": [], "client": LOCAL}
        refused = await call(stage.app, scope)
        assert refused.messages[0]["type"] == "websocket.close"


async def test_without_page_and_metrics_all_is_the_applications() -> None:
    """Where they are turned off."""
    async with Backstage(places=Places()) as stage:
        for path in ("/ops", "/ops/state", "/metrics", "", "\n"):
            assert (await stage.ask(path, LOCAL)).status == 299


@pytest.mark.parametrize("path", ["/metrics", "/ops/state", "/health/memory"])
@pytest.mark.parametrize("first", ["eyJhbGciOi.J9.x", "guess"])
async def test_of_two_tokens_the_one_that_is_counted_opens(path: str, first: str) -> None:
    """Else the second could be a guess that nobody counts, behind an application's own."""
    async with Backstage() as stage:
        scope = {**http(path), "client": REMOTE, "query_string": b""}
        given = [(b"authorization", f"Bearer {each}".encode()) for each in (first, TOKEN)]
        for headers, status in ((given, 403), (given[::-1], 200)):
            assert (await call(stage.app, {**scope, "headers": headers})).status == status


@pytest.mark.parametrize("query", ["worker=1&worker=2", "x=1", "worker"])
async def test_a_query_without_sense_is_refused(query: str) -> None:
    """By the view, which says what to write."""
    async with Backstage() as stage:
        answer = await stage.ask("/ops/state", query=query, **BEARER)

    assert (answer.status, answer.json()["error"]) == (400, "bad_request")


async def test_a_target_cannot_be_made_a_second_request() -> None:
    """Whatever the server in front has let through."""
    async with Backstage() as stage:
        sent = "a HTTP/1.1\r\n\r\nPOST /recycle HTTP/1.1\r\n\r\n"
        answer = await stage.ask("/ops", query=sent, **BEARER)
        assert b"%20HTTP/1.1%0D%0A%0D%0APOST%20/recycle" in answer.body
        assert (await stage.ask("/ops/x HTTP/1.1\r\n\r\n", **BEARER)).status == 404
        assert (await stage.ask("/ops", query="a" * 5000, **BEARER)).status == 404
        assert not stage.hand.asked


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused(method: str) -> None:
    """Also for pages of other sites, which ask with OPTIONS first what they may."""
    async with Backstage() as stage:
        for path, allowed in (("/ops", b"GET, HEAD"), ("/metrics", b"GET, HEAD")):
            answer = await stage.ask(path, LOCAL, method)
            assert (answer.status, header(answer, b"allow")) == (405, allowed)
        answer = await stage.ask("/ops/act/reclaim", LOCAL, "GET")
        assert (answer.status, header(answer, b"allow")) == (405, b"POST")
        assert header(answer, b"access-control-allow-origin") is None


async def test_without_a_token_strangers_are_told_what_to_set() -> None:
    """And whoever is local sees it without any log-in."""
    async with Backstage(token=None) as stage:
        for path in ("/ops", "/ops/state", "/ops/login", "/metrics"):
            stranger = await stage.ask(path)
            assert stranger.status == 403
            assert "TONNAGE_ADMIN_TOKEN" in stranger.json()["detail"]
        assert (await stage.ask("/ops", LOCAL)).status == 200
        here = await stage.ask("/ops/login", LOCAL)
        assert (here.status, header(here, b"location")) == (303, b"/ops")
        assert (await stage.ask("/ops/login", LOCAL, "POST", body="token=", **FORM)).status == 403


async def test_a_person_is_led_to_the_log_in() -> None:
    """Who asks for the page; programs get a status."""
    async with Backstage() as stage:
        page = await stage.ask("/ops")
        assert (page.status, header(page, b"location")) == (303, b"/ops/login")
        assert (await stage.ask("/ops/state")).status == 403
        assert (await stage.ask("/metrics")).status == 403
        slash = await stage.ask("/ops/")
        assert (slash.status, header(slash, b"location")) == (303, b"/ops")
        assert stage.asked == []


async def test_the_token_is_exchanged_for_a_cookie() -> None:
    """Which opens the page, and with it its buttons."""
    async with Backstage() as stage:
        done = await stage.ask("/ops/login", REMOTE, "POST", body="token=opensesame", **FORM)
        assert (done.status, header(done, b"location"), done.body) == (303, b"/ops", b"")
        kept, _, attributes = (header(done, b"set-cookie") or b"").partition(b"; ")
        assert attributes == b"Max-Age=43200; Path=/ops; HttpOnly; SameSite=Strict"

        sent = {"cookie": kept.decode()}
        assert (await stage.ask("/ops/state", **sent)).status == 200
        pressed = await stage.ask(
            "/ops/act/recycle", REMOTE, "POST", query="worker=1", **sent, **OURS
        )
        assert (pressed.status, stage.hand.asked) == (202, [("recycle", 1)])

        out = await stage.ask("/ops/logout", REMOTE, "POST", sec_fetch_site="same-origin", **sent)
        assert (out.status, header(out, b"location")) == (303, b"/ops/login")
        assert (header(out, b"set-cookie") or b"").startswith(f"{COOKIE}=; Max-Age=0;".encode())


@pytest.mark.parametrize(
    ("scheme", "forwarded", "is_secure"),
    [
        ("https", {}, True),
        ("http", {}, False),
        ("http", {"x_forwarded_proto": "https"}, True),
        ("http", {"x_forwarded_proto": "http"}, False),
    ],
)
async def test_what_came_encrypted_stays_so(
    scheme: str, forwarded: dict[str, str], is_secure: bool
) -> None:
    """The cookie too, also behind a proxy."""
    async with Backstage() as stage:
        scheming = stage.app
        stage.app = lambda scope, *rest: scheming({**scope, "scheme": scheme}, *rest)  # type: ignore[assignment]
        sent = {**FORM, **forwarded}
        done = await stage.ask("/ops/login", REMOTE, "POST", body="token=opensesame", **sent)

    assert (header(done, b"set-cookie") or b"").endswith(b"; Secure") is is_secure


async def test_programs_log_in_with_json() -> None:
    """And get JSON."""
    sent = {"content_type": "application/json"}
    async with Backstage() as stage:
        done = await stage.ask("/ops/login", REMOTE, "POST", body='{"token":"opensesame"}', **sent)
        wrong = await stage.ask("/ops/login", REMOTE, "POST", body='{"token":"guess"}', **sent)

    assert (done.status, done.json()) == (200, {"ok": True})
    assert header(done, b"set-cookie") is not None
    assert (wrong.status, wrong.json()["detail"]) == (403, "this is not the token")


async def test_who_is_wrong_gets_the_form_again() -> None:
    """Which says so, and gives nothing away."""
    async with Backstage() as stage:
        wrong = await stage.ask("/ops/login", REMOTE, "POST", body="token=guess", **FORM)

    assert (wrong.status, wrong.body) == (403, b"/ops/login failed=1")
    assert header(wrong, b"set-cookie") is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", "nonsense"),
        ("application/json", "[" * 4000),
        ("application/json", '["opensesame"]'),
        ("application/json", '{"token":["opensesame"]}'),
        ("application/x-www-form-urlencoded", "user=ann&word=opensesame"),
        ("application/x-www-form-urlencoded", "token=++&a"),
        ("application/x-www-form-urlencoded", "\xff\xfe" * 10),
        ("application/x-www-form-urlencoded", "a=1&" * 20 + "token=opensesame"),
        ("multipart/form-data; boundary=x", '--x\r\n name="token"\r\n\r\nopensesame'),
    ],
)
async def test_what_is_no_log_in_is_refused(kind: str, body: str) -> None:
    """Too long, or of another form; and it does not count as a guess."""
    async with Backstage() as stage:
        for _ in range(ATTEMPTS + 1):
            answer = await stage.ask("/ops/login", REMOTE, "POST", body=body, content_type=kind)
            assert answer.status == 400


@pytest.mark.parametrize("kind", [FORM["content_type"], JSON])
async def test_a_log_in_that_is_too_long_is_told_so(kind: str) -> None:
    """Whatever is in it; and it does not count as a guess."""
    body = "token=opensesame&a=" + "a" * LONGEST_BYTES
    async with Backstage() as stage:
        for _ in range(ATTEMPTS + 1):
            answer = await stage.ask("/ops/login", REMOTE, "POST", body=body, content_type=kind)
            assert (answer.status, answer.json()["error"]) == (413, "payload_too_large")


async def test_who_has_logged_in_can_log_out() -> None:
    """The page offers it to nobody else: neither to who is local, nor by the token."""
    async with Backstage() as stage:
        stage.page_body = b"a" + HIDDEN + b" action>"
        for given in (BEARER, BEARER | cookie("another")):
            assert (await stage.ask("/ops", **given)).body == stage.page_body
        assert (await stage.ask("/ops", LOCAL)).body == stage.page_body

        assert (await stage.ask("/ops", **cookie())).body == b"a" + SHOWN + b" action>"


async def test_nobody_is_logged_out_by_another_page() -> None:
    """A link or a form elsewhere leaves the cookie where it is."""
    async with Backstage() as stage:
        other = {"sec_fetch_site": "cross-site", **cookie()}
        linked = await stage.ask("/ops/logout", REMOTE, **cookie())
        forged = await stage.ask("/ops/logout", REMOTE, "POST", **other)

    assert (linked.status, header(linked, b"allow")) == (405, b"POST")
    assert (forged.status, forged.json()["error"]) == (403, "forbidden")
    assert header(linked, b"set-cookie") is header(forged, b"set-cookie") is None


def test_the_page_hides_the_log_out_so() -> None:
    """What the worker looks for is in the page."""
    assert send("page.html").body.count(HIDDEN) == 1


@pytest.mark.parametrize("path", ["/ops/state", "/health/memory"])
async def test_a_wrong_token_is_not_ignored(path: str) -> None:
    """From this machine too, also where it has guessed in the form: then none opens."""
    guess = {"authorization": "bearer guess"}
    async with Backstage() as stage:
        told: list[int] = []
        for _ in range(2):
            told.append((await stage.ask(path, LOCAL)).status)
            told.append((await stage.ask(path, LOCAL, **guess)).status)
            for _ in range(ATTEMPTS):
                await stage.ask("/ops/login", LOCAL, "POST", body="token=guess", **FORM)

    assert told == [200, 403, 200, 429]


async def test_after_a_few_guesses_nobody_guesses_on() -> None:
    """By the form or by the header; whoever is in stays in, and so do others."""
    async with Backstage() as stage:
        for number in range(ATTEMPTS):
            if number % 2:
                await stage.ask("/metrics", REMOTE, authorization=f"Bearer guess{number}")
            else:
                await stage.ask("/ops/login", REMOTE, "POST", body="token=guess", **FORM)

        right = await stage.ask("/ops/login", REMOTE, "POST", body="token=opensesame", **FORM)
        assert right.status == 429
        assert 1 <= int(header(right, b"retry-after") or 0) <= 90
        assert (await stage.ask("/ops/state", **BEARER)).status == 429
        assert (await stage.ask("/health/memory", **BEARER)).status == 429
        assert (await stage.ask("/ops/state", **cookie())).status == 200
        assert (await stage.ask("/ops/state", ("203.0.113.8", 1), **BEARER)).status == 200


async def test_wrong_cookies_are_told_of_and_old_ones_are_not() -> None:
    """The monitor has them; whoever was in yesterday has tried nothing."""
    monitor = SecurityMonitor()
    async with Backstage() as stage:
        assert (await stage.ask("/ops/state", **cookie(now_seconds=0))).status == 403
        assert not monitor.events()
        assert (await stage.ask("/ops/state", **cookie("guess"))).status == 403

    (event,) = monitor.events()
    assert (event.kind, event.client) == ("operator_failed", REMOTE[0])
    assert event.detail == "a wrong cookie at /ops/state"


async def test_a_browser_is_shown_a_refusal_as_a_page() -> None:
    """With the sentence that programs get as JSON, and the live page's own style sheet."""
    seen = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with Backstage(token=None) as stage:
        page = await stage.ask("/ops", REMOTE, **seen)
        plain = await stage.ask("/ops", REMOTE)

    assert (page.status, plain.status) == (403, 403)
    assert header(page, b"content-type") == b"text/html; charset=utf-8"
    assert header(page, b"content-security-policy") == POLICY
    assert "<h1>Forbidden</h1>" in page.body.decode()
    assert escape(plain.json()["detail"][1:]) in page.body.decode()
    assert 'href="/ops/page.css"' in page.body.decode()


async def test_without_memory_it_says_so() -> None:
    """That is when operators look."""
    async with Backstage() as stage:
        stage.fails_with = MemoryError()
        answer = await stage.ask("/ops", **BEARER)

    assert (answer.status, "no memory" in answer.json()["detail"]) == (503, True)


async def test_guesses_at_the_same_time_are_no_more() -> None:
    """Whoever sends them all at once does not get more of them."""
    async with Backstage() as stage:
        guesses = [
            stage.ask("/ops/login", REMOTE, "POST", body='{"token":"guess"}', content_type=JSON)
            for _ in range(ATTEMPTS * 3)
        ]
        statuses = [answer.status for answer in await asyncio.gather(*guesses)]

    assert (statuses.count(403), statuses.count(429)) == (ATTEMPTS, ATTEMPTS * 2)


async def test_what_is_for_everybody_is_asked_for_once() -> None:
    """Else strangers could keep the supervisor from its work."""
    async with Backstage() as stage:
        for _ in range(5):
            assert (await stage.ask("/ops/login")).body == b"/ops/login "
            assert (await stage.ask("/ops/page.css")).status == 200
            assert (await stage.ask("/ops/page.css", query=str(_))).status == 200
        assert stage.asked == ["/ops/login", "/ops/page.css"]


async def test_only_so_much_is_kept() -> None:
    """A longer one is asked for each time."""
    async with Backstage() as stage:
        stage.desk.views.add({"/ops/icon.svg": _large})
        for _ in range(2):
            assert len((await stage.ask("/ops/icon.svg")).body) > MOST_KEPT_BYTES
        assert (await stage.ask("/ops/page.css")).status == 200


def _large(query: str) -> Answer:
    return Answer(200, b"x" * (MOST_KEPT_BYTES + 1))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BEARER, 202),
        (cookie() | OURS, 202),
        (cookie() | OURS | {"sec_fetch_site": "cross-site"}, 403),
        (cookie() | {"x_tonnage_action": "1", "origin": "https://evil.example", "host": "a"}, 403),
        (cookie() | {"sec_fetch_site": "same-origin"}, 403),
        (cookie(now_seconds=0) | OURS, 403),
        (cookie("guess") | OURS, 403),
        (OURS, 403),
        ({}, 403),
    ],
)
async def test_buttons_are_pressed_by_the_page_alone(headers: dict[str, str], status: int) -> None:
    """And by whoever has the token; a form of another site has neither."""
    async with Backstage() as stage:
        for action in ("reclaim", "recycle"):
            answer = await stage.ask(f"/ops/act/{action}", REMOTE, "POST", **headers)
            assert answer.status == status
        assert bool(stage.hand.asked) is (status == 202)


async def test_an_action_reads_no_body() -> None:
    """Who sends worker=0 as a form must not see every worker recycled."""
    async with Backstage() as stage:
        answer = await stage.ask("/ops/act/recycle", REMOTE, "POST", body="worker=0", **BEARER)
        assert (answer.status, stage.hand.asked) == (400, [])


async def test_the_peer_counts_and_not_what_it_says() -> None:
    """Behind a proxy that is believed, the client's own address opens nothing."""
    async with Backstage() as stage:
        stage.app = Proxied(stage.app, hops=1)  # type: ignore[assignment]
        for client in (LOCAL, REMOTE):
            answer = await stage.ask("/ops/state", client, x_forwarded_for="127.0.0.1")
            assert answer.status == 403


# Where there is no answer.


async def test_a_supervisor_that_takes_nothing_is_told_of() -> None:
    """A worker that is about to end, or whose supervisor has."""
    async with Backstage() as stage:
        stage.is_taken = False
        answer = await stage.ask("/ops", **BEARER)

    assert (answer.status, header(answer, b"retry-after")) == (503, b"2")
    assert answer.json()["detail"].startswith("the supervisor takes no questions just now")


async def test_a_supervisor_is_asked_a_few_questions_at_once() -> None:
    """Whoever asks: who is one too many is told so at once, and the others are answered."""
    async with Backstage() as stage:
        stage.is_listening = False
        asking = [
            asyncio.create_task(stage.ask("/ops", **BEARER)) for _ in range(MOST_QUESTIONS + 1)
        ]
        [refused], others = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        answer = await refused
        assert answer.status == 503
        assert answer.json()["detail"].startswith("too much is being asked at once")

        stage.is_listening = True
        assert {each.status for each in await asyncio.gather(*others)} == {200}


async def test_a_desk_that_is_full_is_no_riddle() -> None:
    """It closes without a word."""
    async with Backstage() as stage:
        ends = [socket.socketpair() for _ in range(MOST_CONNECTIONS)]
        stage.desk.converse([ours.detach() for ours, _ in ends])
        answer = await stage.ask("/ops", **BEARER)
        for _, theirs in ends:
            theirs.close()

    assert answer.status == 503
    assert answer.json()["detail"].startswith("the supervisor ")


# The stream.


class Viewer:
    """A browser that looks at the stream until it goes."""

    def __init__(self, stage: Backstage, **headers: str) -> None:
        self.sent: list[Message] = []
        self.gone = asyncio.Event()
        scope: Any = {
            "type": "http",
            "method": "GET",
            "path": "/ops/live",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": REMOTE,
        }
        self.looking = asyncio.ensure_future(stage.app(scope, self._receive, self._send))

    async def events(self, count: int) -> list[bytes]:
        """Return the first events, once so many are there."""
        await until(lambda: len(self.sent) >= count + 2)
        return [message["body"] for message in self.sent[2 : count + 2]]

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


async def test_a_stream_ends_with_the_worker() -> None:
    """And at once: the browser comes again, to another worker."""
    async with Backstage() as stage:
        viewer = Viewer(stage, **BEARER)
        assert await viewer.events(1) == [b'data: {"asked":1}\n\n']
        stage.app.drain()
        await asyncio.wait_for(viewer.looking, 5)
        late = Viewer(stage, **BEARER)
        await asyncio.wait_for(late.looking, 5)

    for each in (viewer, late):
        assert each.sent[0]["status"] == 200
        assert each.sent[-1].get("more_body", False) is False


async def test_who_looks_at_a_worker_that_ends_gets_one_event() -> None:
    """Also where nobody has looked before: the first one does not keep it."""
    async with Backstage() as stage:
        stage.app.drain()
        viewer = Viewer(stage, **BEARER)
        await asyncio.wait_for(viewer.looking, 5)

    assert viewer.sent[0]["status"] == 200
    assert viewer.sent[-1].get("more_body", False) is False


async def test_a_worker_has_so_many_streams() -> None:
    """And no more."""
    async with Backstage() as stage:
        viewers = [Viewer(stage, **BEARER) for _ in range(MOST_STREAMS)]
        for viewer in viewers:
            await viewer.events(1)
        assert (await stage.ask("/ops/live", **BEARER)).status == 503
        assert (await stage.ask("/ops/live")).status == 403
        stage.app.drain()
        await asyncio.gather(*(viewer.looking for viewer in viewers))
