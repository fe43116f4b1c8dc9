"""A worker's question to a supervisor that does not answer. In virtual time."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from tests.web.virtual import now, run

from tonnage.web.question import DEADLINE_SECONDS, MOST_QUESTIONS, SupervisorClient, UnansweredError


def test_an_answer_is_waited_for_so_long() -> None:
    """And a worker waits for a few at once, whoever asks."""

    async def story() -> None:
        taken: list[int] = []

        def take(fd: int) -> bool:
            taken.append(os.dup(fd))
            return True

        supervisor, begun = SupervisorClient(take), now()
        asking = [asyncio.create_task(supervisor.ask("GET", "/ops")) for _ in range(MOST_QUESTIONS)]
        await asyncio.sleep(1.0)
        with pytest.raises(UnansweredError, match="too much is being asked at once"):
            await supervisor.ask("GET", "/ops")
        answers = await asyncio.gather(*asking, return_exceptions=True)

        assert now() - begun == pytest.approx(DEADLINE_SECONDS)
        assert {str(answer) for answer in answers} == {"the supervisor has not answered within 5 s"}
        assert len(taken) == MOST_QUESTIONS
        for fd in taken:
            os.close(fd)

    run(story())


def test_an_answer_that_is_cut_off_is_none() -> None:
    """Half a page is not shown: a supervisor that is about to end may leave one behind."""

    async def story() -> None:
        asked: list[socket.socket] = []

        def begin_to_answer(fd: int) -> bool:
            asked.append(socket.socket(fileno=os.dup(fd)))
            asked[0].sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            asked[0].shutdown(socket.SHUT_WR)
            return True

        with pytest.raises(UnansweredError, match="about to end"):
            await SupervisorClient(begin_to_answer).ask("GET", "/ops")
        asked[0].close()

    run(story())
