from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from tests.support.waiting import await_true
from tests.web.path.uploads.forms import png, raw

from tonnage.web.path.uploads import UploadBusyError, Uploads


def test_others_wait_in_turn(tmp_path: Path) -> None:
    """Only so many are received at once; those who wait come in the order in which they asked."""
    uploads = Uploads(directory=tmp_path, concurrent=1)
    order: list[int] = []

    async def client(number: int) -> None:
        async with uploads.receive(raw(png())):
            assert uploads.statistics().receiving == 1
            order.append(number)
            await asyncio.sleep(0)

    async def story() -> None:
        await asyncio.gather(*map(client, range(5)))

    asyncio.run(story())
    assert order == [0, 1, 2, 3, 4]


def test_a_wait_is_bounded(tmp_path: Path) -> None:
    """Who has waited long enough gets 503 with Retry-After, and its body was never read."""
    uploads = Uploads(directory=tmp_path, concurrent=1, wait="2ms")

    async def story() -> None:
        async with uploads.receive(raw(png())):
            second = raw(png())
            with pytest.raises(UploadBusyError) as caught:
                async with uploads.receive(second):
                    pass
            assert second.asked == 0
        assert caught.value.problem.status == 503
        assert caught.value.problem.headers == ((b"retry-after", b"1"),)
        async with uploads.receive(raw(png())):
            pass

    asyncio.run(story())


def test_the_queue_is_bounded(tmp_path: Path) -> None:
    """Who comes when all places in the queue are taken is refused at once."""
    uploads = Uploads(directory=tmp_path, concurrent=1, waiting=0, wait="1h")

    async def story() -> None:
        async with uploads.receive(raw(png())):
            with pytest.raises(UploadBusyError):
                async with uploads.receive(raw(png())):
                    pass

    asyncio.run(story())


def test_who_gives_up_waiting_leaves_the_queue(tmp_path: Path) -> None:
    """A request that is cancelled in the queue, or right when its turn comes, holds up nobody."""
    uploads = Uploads(directory=tmp_path, concurrent=1)

    async def client() -> None:
        async with uploads.receive(raw(png())):
            pass

    async def story() -> None:
        async with uploads.receive(raw(png())):
            waiting = [asyncio.create_task(client()) for _ in range(3)]
            await asyncio.sleep(0)
            assert uploads.statistics().waiting == 3
            waiting[1].cancel()
            await asyncio.wait([waiting[1]])
            assert uploads.statistics().waiting == 2
        # The turn has been handed to the first one, which does not know it yet.
        waiting[0].cancel()
        await asyncio.wait(waiting)
        assert [task.cancelled() for task in waiting] == [True, True, False]
        assert uploads.statistics().receiving == 0
        await client()

    asyncio.run(story())


def test_threads_and_coroutines_share_the_turns(tmp_path: Path) -> None:
    """A WSGI request waits for its turn as well, in its thread."""
    uploads = Uploads(directory=tmp_path, concurrent=1)
    order: list[str] = []

    def client() -> None:
        with uploads.receive_stream(io.BytesIO(png()), content_type="image/png"):
            order.append("thread")

    async def story() -> None:
        async with uploads.receive(raw(png())):
            thread = asyncio.create_task(asyncio.to_thread(client))
            await asyncio.to_thread(
                await_true, lambda: uploads.statistics().waiting, "the thread to wait"
            )
            order.append("coroutine")
        await thread

    asyncio.run(story())
    assert order == ["coroutine", "thread"]
