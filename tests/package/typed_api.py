"""Code of an application, as a type checker sees it: what calls of Tonnage return.

Never run. ``make types`` checks it against the source, ``make package`` against a wheel that is
installed, both with ``mypy --strict``: what is not typed there would be ``Any`` here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, assert_type

import tonnage
from tonnage import (
    BatchWriter,
    Cache,
    Consumer,
    Heartbeats,
    Problem,
    Registration,
    RequestRefusedError,
    SecurityMonitor,
    Tonnage,
    TonnageWSGI,
    Uploads,
    images,
    isolated,
)
from tonnage.images import Photo, Picture
from tonnage.sinks import JsonlSink, Sink

Message = MutableMapping[str, Any]

prices: Cache[float] = Cache("prices", max_bytes="8M", ttl=60, shared="64M")
clicks = BatchWriter("clicks", JsonlSink("clicks.jsonl"), max_records=1000, flush_seconds=5)


async def asgi(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """An application."""


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Another one."""
    return []


def around_applications() -> None:
    """The limits of the path."""
    Tonnage(asgi, max_body="1M", rate_limit="100/15m", timeout="30s", compress=True)
    Tonnage(asgi, routes={"POST /photos": {"max_upload": "5M"}}, cors_origins=["https://a.example"])
    TonnageWSGI(wsgi, max_body=2**20)
    Tonnage(asgi, max_bodies="1M")  # type: ignore[call-arg]


def cache() -> None:
    """Values keep their type."""
    assert_type(prices.get("tea"), float | None)
    assert_type(prices.get("tea", 0.0), float)
    assert_type(prices.set("tea", 2.5, ttl="5m", tags=("drinks",)), bool)
    assert_type(prices.get_or_make("tea", lambda: 2.5), float)
    prices.set("tea", "much")  # type: ignore[arg-type]


@prices.cached(ttl=60)
def price_of(name: str) -> float:
    """A function whose results are kept has its own arguments."""
    return float(len(name))


async def make_price() -> float:
    """What is missing."""
    return 2.5


async def kept() -> None:
    """The same, awaited."""
    assert_type(price_of("tea"), float)
    price_of(1)  # type: ignore[arg-type]
    assert_type(await prices.get_or_await("tea", make_price), float)


async def written() -> None:
    """Records go in one by one."""
    assert_type(await clicks.add({"page": "/"}), bool)
    assert_type(await clicks.add_many([{"page": "/"}]), int)
    assert_type(clicks.put({"page": "/"}), bool)
    assert_type(clicks.statistics().name, str)
    async with clicks as writer:
        assert_type(writer, BatchWriter)
    sink: Sink = JsonlSink("more.jsonl")
    await sink.close()


@isolated(memory="250M", timeout=30)
def report(year: int) -> bytes:
    """A function in a process of its own is awaited."""
    return bytes(year)


@isolated
async def summary(year: int) -> str:
    """One that is asynchronous is awaited once, not twice."""
    return str(year)


@isolated
def lines(year: int) -> Iterator[str]:
    """One that yields."""
    yield str(year)


async def jobs() -> None:
    """What they return is what the functions do."""
    assert_type(await report(2026), bytes)
    assert_type(report.wait(2026), bytes)
    assert_type(await summary(2026), str)
    assert_type(lines(2026), AsyncGenerator[str])
    assert_type(await isolated(len, "abc", memory="10M"), int)
    await report("2026")  # type: ignore[arg-type]


async def pictures(file: bytes) -> None:
    """Pictures in, pictures out."""
    photo = images.open(file)
    assert_type(photo, Photo)
    assert_type((photo.width, photo.media_type, photo.memory_bytes), tuple[int, str, int])
    assert_type(await images.resize(file, 800, 800, quality=80), Picture)
    assert_type(images.resize.wait(photo, format="WEBP").content, bytes)
    cut = await images.remove_background(file, background="white", crop="passport")
    assert_type(cut, Picture)
    await images.remove_background(file, colour="white")  # type: ignore[call-arg]


async def uploads(scope: dict[str, Any], receive: Callable[[], Awaitable[Message]]) -> None:
    """Files that clients send."""
    taken = Uploads(max_bytes="2M", types=["image/jpeg"], concurrent=4)
    async with taken.receive(scope, receive) as files:
        assert_type(files["photo"].size_bytes, int)
        assert_type(files["photo"].type, str)


class Pages:
    """A cache of one's own."""

    name = "pages"
    used_bytes = 0

    def shrink(self, target_bytes: int) -> int:
        """Nothing is there."""
        return 0


def registered() -> None:
    """It gives memory back, as those of Tonnage do."""
    pages: Consumer = Pages()
    assert_type(tonnage.register(pages, 3), Registration)
    tonnage.register(object())  # type: ignore[arg-type]


async def others() -> None:
    """The rest of the menu."""
    sessions = Heartbeats("sessions", "sqlite:///shop.db")
    assert_type(await sessions.beat("one"), bool)
    assert_type(tonnage.request_id(), str | None)
    assert_type(tonnage.log_statistics().written_lines, int)
    assert_type(tonnage.__version__, str)
    SecurityMonitor(keep=100, keep_seconds="1d")
    try:
        raise RequestRefusedError(Problem(503, "shop_closed", "we open at nine"))
    except RequestRefusedError as error:
        assert_type(error.problem, Problem)
