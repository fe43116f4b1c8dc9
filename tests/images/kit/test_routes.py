"""The routes: a photo in, its job, its picture; mounted in whatever framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.images.kit.photos import Maker, photo
from tests.support.disk import on_a_disk
from tests.support.waiting import until
from tests.web.path.uploads.forms import FORM_TYPE, file_part, form

from tonnage import Uploads
from tonnage.images.kit import PictureApp, PictureJobs, events
from tonnage.images.kit.events import Events
from tonnage.images.kit.request import MountedRequest
from tonnage.images.kit.status import State, Status
from tonnage.stores.redis.link import link

PHOTO = photo()
# The header says 50,000 x 50,000.
HUGE = (lambda png: png[:16] + (50_000).to_bytes(4) * 2 + png[24:])(photo(format="PNG"))
JPEG = {"content-type": "image/jpeg"}
#: Where the application is mounted.
AT = "/kit/cutouts"


@pytest.fixture
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploads]:
    """Yield what takes photos of 100 KB."""
    with on_a_disk(tmp_path_factory.mktemp("uploads")) as directory:
        yield Uploads(max_bytes="100K", types=["image/jpeg", "image/png"], directory=directory)


@pytest.fixture
def app(make_jobs: Callable[..., PictureJobs], uploads: Uploads) -> PictureApp:
    """Return the routes, by themselves."""
    return PictureApp(make_jobs(), uploads)


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an ASGI application."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
async def client(app: PictureApp) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the routes."""
    async with client_of(app) as found:
        yield found


async def done(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """Wait until a job is over, and return what is said of it."""
    async with asyncio.timeout(10):
        while True:
            found: dict[str, Any] = (await client.get(path)).json()
            if found["status"] not in ("waiting", "running"):
                return found
            await asyncio.sleep(0.01)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the word of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["error"]


async def test_a_photo_becomes_a_picture(client: httpx.AsyncClient, maker: Maker) -> None:
    """Taken at once, told of meanwhile, and kept to be fetched more than once."""
    taken = await client.post("/", content=PHOTO, headers=JPEG)
    assert (taken.status_code, taken.headers["retry-after"]) == (202, "1")
    job = taken.json()
    own = f"/{job['id']}"
    assert job["links"] == {"self": own, "events": f"{own}/events"}
    assert taken.headers["location"] == own
    assert error_of(await client.get(f"{own}/picture")) == (409, "not_done_yet")

    maker.may_go_on.set()
    found = await done(client, own)
    assert found["picture"]["bytes"] == len(PHOTO)
    picture = await client.get(found["links"]["picture"])
    assert (picture.status_code, picture.content) == (200, PHOTO[::-1])
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert picture.headers["cache-control"].startswith("private, max-age=5")


async def test_who_has_the_picture_does_not_get_it_again(
    client: httpx.AsyncClient, maker: Maker
) -> None:
    """By its tag; nor does who asks for the head alone."""
    maker.may_go_on.set()
    tag = (await client.post("/?wait=9", content=PHOTO, headers=JPEG)).headers["etag"]
    job = (await client.post("/", content=PHOTO, headers=JPEG)).json()
    await done(client, job["links"]["self"])
    path = f"{job['links']['self']}/picture"

    again = await client.get(path, headers={"if-none-match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(PHOTO))
    assert (await client.get(path, headers={"if-none-match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/?wait=20", {}), ("/", {"prefer": "respond-async, wait=20"})],
    ids=["query", "header"],
)
async def test_who_would_wait_gets_the_picture(
    client: httpx.AsyncClient, maker: Maker, path: str, headers: dict[str, str]
) -> None:
    """Instead of the job."""
    maker.may_go_on.set()
    answer = await client.post(path, content=PHOTO, headers=JPEG | headers)
    assert (answer.status_code, answer.content) == (200, PHOTO[::-1])


async def test_who_waits_in_vain_gets_the_job_or_the_reason(
    client: httpx.AsyncClient, maker: Maker
) -> None:
    """The job if it is not over; why it has failed if it has."""
    answer = await client.post("/?wait=1", content=PHOTO, headers=JPEG)
    assert (answer.status_code, answer.json()["status"]) == (202, "running")

    maker.errors += [RuntimeError(), RuntimeError()]  # for each of the two
    maker.may_go_on.set()
    answer = await client.post("/?wait=9", content=PHOTO, headers=JPEG)
    assert error_of(answer) == (500, "job_failed")


@pytest.mark.parametrize("wish", ["-1", "x", "1e9", "", "²"])
async def test_what_is_no_time_is_no_wish(client: httpx.AsyncClient, wish: str) -> None:
    """Nobody waits for it."""
    answer = await client.post("/", params={"wait": wish}, content=PHOTO, headers=JPEG)
    assert answer.status_code == 202


async def test_a_form_brings_a_photo_too(client: httpx.AsyncClient) -> None:
    """In a field of any name."""
    body = form(file_part("photo", "me.jpg", PHOTO, "image/jpeg"))
    answer = await client.post("/", content=body, headers={"content-type": FORM_TYPE.decode()})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no photo", (415, "unsupported_media_type")),
        (PHOTO + bytes(200_000), (413, "payload_too_large")),
        (HUGE, None),
        (PHOTO[:200], None),
        (PHOTO[:-20], None),
    ],
    ids=["no photo", "too many bytes", "too many pixels", "cut off", "cut off late"],
)
async def test_what_is_refused_is_refused_at_once(
    client: httpx.AsyncClient, maker: Maker, content: bytes, expected: tuple[int, str] | None
) -> None:
    """As problem details; nothing of it becomes a job."""
    answer = await client.post("/", content=content)
    assert error_of(answer) == expected if expected else error_of(answer)[0] in (413, 422)
    assert maker.begun == []


async def test_a_job_can_be_ended(client: httpx.AsyncClient) -> None:
    """Whether it has begun or not; and asked for again, it is known as such."""
    job = (await client.post("/", content=PHOTO, headers=JPEG)).json()
    own = job["links"]["self"]
    assert (await client.delete(own)).status_code == 204
    assert (await client.get(own)).json()["status"] == "cancelled"
    assert error_of(await client.get(f"{own}/picture")) == (410, "job_cancelled")


async def test_a_picture_can_be_forgotten(client: httpx.AsyncClient, maker: Maker) -> None:
    """It is gone then; its job was done."""
    maker.may_go_on.set()
    own = (await client.post("/", content=PHOTO, headers=JPEG)).json()["links"]["self"]
    await done(client, own)
    assert (await client.delete(own)).status_code == 204
    assert (await client.get(own)).json()["status"] == "expired"
    assert error_of(await client.get(f"{own}/picture")) == (410, "picture_gone")


@pytest.mark.parametrize(
    ("method", "path", "expected", "allow"),
    [
        ("GET", "/", (405, "method_not_allowed"), "POST"),
        ("PUT", "/x", (405, "method_not_allowed"), "GET, HEAD, DELETE"),
        ("DELETE", "/x/picture", (405, "method_not_allowed"), "GET, HEAD"),
        ("POST", "/x/events", (405, "method_not_allowed"), "GET"),
        ("GET", "/x", (404, "no_such_job"), None),
        ("GET", "/x/picture", (404, "no_such_job"), None),
        ("GET", "/x/events", (404, "no_such_job"), None),
        ("DELETE", "/x", (404, "no_such_job"), None),
        ("GET", "/x/y", (404, "no_such_job"), None),
    ],
)
async def test_what_is_not_there(
    client: httpx.AsyncClient, method: str, path: str, expected: tuple[int, str], allow: str | None
) -> None:
    """Has one shape."""
    answer = await client.request(method, path)
    assert error_of(answer) == expected
    assert answer.headers.get("allow") == allow


async def test_photos_are_counted(
    make_jobs: Callable[..., PictureJobs], uploads: Uploads, maker: Maker
) -> None:
    """Where there is a rate; asking for them is not."""
    maker.may_go_on.set()
    async with client_of(PictureApp(make_jobs(), uploads, rate="2/1h")) as client:
        answers = [await client.post("/", content=PHOTO, headers=JPEG) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert "ratelimit" in answers[0].headers
        assert (await client.get(answers[0].headers["location"])).status_code == 200


async def test_a_picture_that_has_left_meanwhile_is_gone(maker: Maker, uploads: Uploads) -> None:
    """Others took its room after its job was looked up: its client hears that, and no error."""

    class Pushed(PictureJobs):
        def content(self, id: str) -> bytes | None:
            return None

    maker.may_go_on.set()
    jobs = Pushed(maker, name="pushed out", keep_bytes="1M")
    async with client_of(PictureApp(jobs, uploads)) as client:
        own = (await client.post("/", content=PHOTO, headers=JPEG)).json()["links"]["self"]
        await done(client, own)
        assert error_of(await client.get(f"{own}/picture")) == (410, "picture_gone")


async def test_where_redis_is_away_pictures_are_made_all_the_same(
    make_jobs: Callable[..., PictureJobs],
    uploads: Uploads,
    maker: Maker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers of this machine know of them; other instances do not."""
    url = "redis://127.0.0.1:1/0"
    monkeypatch.setenv("REDIS_URL", url)
    jobs = make_jobs()
    assert jobs.may_block
    maker.may_go_on.set()
    async with client_of(PictureApp(jobs, uploads)) as client:
        answer = await client.post("/?wait=9", content=PHOTO, headers=JPEG)
        assert (answer.status_code, answer.content) == (200, PHOTO[::-1])
    await link(url).aclose()


async def test_no_websocket_is_opened(app: PictureApp) -> None:
    """There is none here: it is closed before anything is sent."""
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == ["websocket.close"]


def in_starlette(app: Any) -> Any:
    """Return an application of Starlette with *app* in it, two deep."""
    return Starlette(routes=[Mount("/kit", routes=[Mount("/cutouts", app)])])


def in_fastapi(app: Any) -> Any:
    """Return one of FastAPI."""
    outer = FastAPI()
    outer.mount(AT, app)
    return outer


def as_litestar_does(app: Any) -> Any:
    """Return *app* as Litestar mounts it: the mount's part of the path is taken off."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"path": scope["path"].removeprefix(AT)}, receive, send)

    return outer


def behind_a_prefix(app: Any) -> Any:
    """Return *app* as a server has it that was started with --root-path."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"root_path": AT}, receive, send)

    return outer


@pytest.mark.parametrize("mounted", [in_starlette, in_fastapi, as_litestar_does, behind_a_prefix])
async def test_it_can_be_mounted(
    app: PictureApp, maker: Maker, mounted: Callable[[Any], Any]
) -> None:
    """Its links lead to it from outside."""
    maker.may_go_on.set()
    async with client_of(mounted(app)) as client:
        taken = await client.post(f"{AT}/", content=PHOTO, headers=JPEG)
        assert taken.status_code == 202, taken.text
        own = f"{AT}/{taken.json()['id']}"
        assert taken.json()["links"] == {"self": own, "events": f"{own}/events"}
        found = await done(client, own)
        picture = await client.get(found["links"]["picture"])
        assert picture.content == PHOTO[::-1]


class Stream:
    """A client of an event stream, as an ASGI server has it."""

    def __init__(self, app: PictureApp, path: str, heard: str = "") -> None:
        headers = [(b"last-event-id", heard.encode())] if heard else []
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
        self.status = 0
        self.text = ""
        self._gone = asyncio.Event()
        self._asked = 0
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        self._asked += 1
        if self._asked == 1:
            return {"type": "http.request"}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()

    async def leave(self) -> None:
        """Go away."""
        self._gone.set()
        async with asyncio.timeout(5):
            await self.task

    def events(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return what has come: event, id and data of each."""
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
            if "event" in lines:
                found.append((lines["event"], lines["id"], json.loads(lines["data"])))
        return found


async def test_progress_is_told_as_events(
    app: PictureApp, client: httpx.AsyncClient, maker: Maker
) -> None:
    """Each once, the last one that it is over; then the stream ends."""
    await client.post("/", content=PHOTO, headers=JPEG)
    own = (await client.post("/", content=PHOTO, headers=JPEG)).json()["links"]["self"]
    stream = Stream(app, f"{own}/events")
    await until(lambda: "event: waiting" in stream.text)
    maker.may_go_on.set()
    async with asyncio.timeout(5):
        await stream.task

    events = stream.events()
    names = [name for name, _, _ in events]
    assert (names[0], names[-1]) == ("waiting", "done")
    assert [data["status"] for _, _, data in events] == names
    assert events[0][2]["place"] == 1
    assert events[-1][2]["links"]["picture"] == f"{own}/picture"
    assert len({id for _, id, _ in events}) == len(events)


async def test_a_stream_goes_on_where_it_was_left(
    app: PictureApp, client: httpx.AsyncClient, maker: Maker
) -> None:
    """What was heard is not told again; who has heard the end is told to stop asking."""
    own = (await client.post("/", content=PHOTO, headers=JPEG)).json()["links"]["self"]
    first = Stream(app, f"{own}/events")
    await until(lambda: "event: running" in first.text)
    await first.leave()
    maker.may_go_on.set()
    await done(client, own)

    second = Stream(app, f"{own}/events", heard=first.events()[-1][1])
    await second.task
    assert [name for name, _, _ in second.events()] == ["done"]
    third = Stream(app, f"{own}/events", heard=second.events()[-1][1])
    await third.task
    assert (third.status, third.text) == (204, "")


async def test_streams_that_find_no_memory_to_begin_take_no_place(
    app: PictureApp, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there may be at once, and then another one."""

    def fails(coroutine: Any) -> None:
        coroutine.close()
        raise MemoryError

    own = (await client.post("/", content=PHOTO, headers=JPEG)).json()["links"]["self"]
    short = SimpleNamespace(**vars(asyncio) | {"ensure_future": fails})
    with monkeypatch.context() as moment:
        moment.setattr(events, "asyncio", short)
        for _ in range(events.MOST_STREAMS):
            with pytest.raises(MemoryError):
                await Stream(app, f"{own}/events").task
    stream = Stream(app, f"{own}/events")
    await until(lambda: "event: " in stream.text)
    await stream.leave()


async def test_a_stream_ends_when_nobody_knows_the_job_any_more() -> None:
    """Its place was needed for others: the client comes back, and is told that there is none."""
    sent: list[dict[str, Any]] = []

    async def nobody(id: str) -> None:
        return None

    async def receive() -> dict[str, Any]:
        return await asyncio.Future[dict[str, Any]]()

    async def send(message: Any) -> None:
        sent.append(message)

    request = MountedRequest({"method": "GET", "path": "/x/events", "headers": []})
    async with asyncio.timeout(5):
        await Events(nobody).serve(request, Status("x", State.WAITING, 0.0), receive, send)
    assert b"event: waiting" in sent[1]["body"]
    assert sent[-1] == {"type": "http.response.body", "body": b""}


async def test_streams_have_a_bound(app: PictureApp, client: httpx.AsyncClient) -> None:
    """Beyond which clients are asked to ask for the status."""
    own = (await client.post("/", content=PHOTO, headers=JPEG)).json()["links"]["self"]
    streams = [Stream(app, f"{own}/events") for _ in range(64)]
    await until(lambda: "event: " in streams[-1].text)
    refused = Stream(app, f"{own}/events")
    await refused.task
    assert refused.status == 503

    for stream in streams:
        await stream.leave()
    again = Stream(app, f"{own}/events")
    await until(lambda: "event: " in again.text)
    await again.leave()
