"""The stream of the live page: what those see who look, and when it ends. In virtual time."""

from __future__ import annotations

import asyncio

from tests.web.virtual import now, run

from tonnage.answer import Answer
from tonnage.web.live import EVERY_SECONDS, Live
from tonnage.web.question import UnansweredError
from tonnage.web.respond import Message

LATE_SECONDS = 0.1


class Site:
    """The streams, and the state that is asked for."""

    def __init__(self) -> None:
        self.asked, self.is_answered = 0, True
        self.live = Live(self._ask)

    async def _ask(self) -> Answer:
        if not self.is_answered:
            raise UnansweredError("nobody is there")
        self.asked += 1
        return Answer(200, b'{"asked":%d}' % self.asked)


class Viewer:
    """A browser that looks at the stream until it goes."""

    def __init__(self, site: Site) -> None:
        self.sent: list[Message] = []
        self.gone = asyncio.Event()
        self.looking = asyncio.ensure_future(
            site.live.stream(self._receive, self._send, ((b"x-own", b"1"),))
        )

    @property
    def events(self) -> list[bytes]:
        """The events that have come; what says when to come again goes before them."""
        return [body for message in self.sent[2:] if (body := message["body"])]

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


def test_the_state_is_sent_again_and_again() -> None:
    """To all who look, of one question; nothing is asked for nobody."""

    async def story() -> None:
        site = Site()
        viewers = [Viewer(site) for _ in range(5)]
        await asyncio.sleep(3 * EVERY_SECONDS + LATE_SECONDS)

        start, retry = viewers[0].sent[:2]
        headers = dict(start["headers"])
        assert (headers[b"content-type"], headers[b"x-own"]) == (b"text/event-stream", b"1")
        assert b"content-length" not in headers
        assert retry["body"] == b"retry: 1000\n\n"
        expected = [b'data: {"asked":%d}\n\n' % number for number in range(1, 5)]
        assert [viewer.events for viewer in viewers] == [expected] * 5

        for viewer in viewers:
            viewer.gone.set()
        await asyncio.gather(*(viewer.looking for viewer in viewers))
        assert [viewer.sent[-1] for viewer in viewers] == [
            {"type": "http.response.body", "body": b""}
        ] * 5
        asked = site.asked
        await asyncio.sleep(10 * EVERY_SECONDS)
        assert site.asked == asked

    run(story())


def test_a_stream_ends_with_the_worker() -> None:
    """And at once: the browser comes again, to another worker."""

    async def story() -> None:
        site = Site()
        viewer = Viewer(site)
        await asyncio.sleep(LATE_SECONDS)
        begun = now()
        site.live.end()
        late = Viewer(site)
        await asyncio.gather(viewer.looking, late.looking)

        assert now() == begun
        for each in (viewer, late):
            assert each.sent[0]["status"] == 200
            assert each.sent[-1].get("more_body", False) is False

    run(story())


def test_a_stream_ends_where_there_is_no_answer() -> None:
    """And begins anew when there is one."""

    async def story() -> None:
        site = Site()
        viewer = Viewer(site)
        await asyncio.sleep(LATE_SECONDS)
        site.is_answered = False
        await viewer.looking
        assert len(viewer.events) == 1

        site.is_answered = True
        again = Viewer(site)
        await asyncio.sleep(EVERY_SECONDS + LATE_SECONDS)
        assert len(again.events) == 2
        again.gone.set()
        await again.looking

    run(story())


def test_who_takes_slowly_is_sent_the_newest() -> None:
    """And does not hold up the others."""

    async def story() -> None:
        site = Site()
        slow, other = Slow(site), Viewer(site)
        await asyncio.sleep(5 * EVERY_SECONDS + LATE_SECONDS)
        assert len(other.events) == 6
        slow.may_go_on.set()
        await asyncio.sleep(EVERY_SECONDS)
        assert slow.events == [other.events[0], other.events[6]]
        for viewer in (slow, other):
            viewer.gone.set()
            await viewer.looking

    run(story())


class Slow(Viewer):
    """Takes its first event late."""

    def __init__(self, site: Site) -> None:
        self.may_go_on = asyncio.Event()
        super().__init__(site)

    async def _send(self, message: Message) -> None:
        await super()._send(message)
        if len(self.sent) > 2:
            await self.may_go_on.wait()


def test_what_is_no_state_is_not_shown() -> None:
    """An answer of another kind ends the stream; the browser comes again by itself."""

    async def story() -> list[bytes]:
        async def refuse() -> Answer:
            return Answer(503, b"{}")

        site = Site()
        site.live = Live(refuse)
        viewer = Viewer(site)
        await asyncio.wait_for(viewer.looking, LATE_SECONDS)
        assert viewer.sent[-1] == {"type": "http.response.body", "body": b""}
        return viewer.events

    assert run(story()) == []


def test_a_stream_that_begins_while_the_worker_ends_is_of_one_event() -> None:
    """Nobody waits for a second one."""

    async def story() -> tuple[list[bytes], int]:
        site = Site()
        site.live.end()
        viewer = Viewer(site)
        await asyncio.wait_for(viewer.looking, LATE_SECONDS)
        await asyncio.sleep(3 * EVERY_SECONDS)
        return viewer.events, site.asked

    events, asked = run(story())
    assert (len(events), asked) == (1, 1)
