"""Waiting for a turn: in a coroutine or in a thread, for so long and no longer."""

from __future__ import annotations

import asyncio
import math
import threading

from tonnage.web.path.uploads.errors import UploadBusyError
from tonnage.web.path.uploads.turns import Turn, Turns


async def turn_in_loop(turns: Turns, within_seconds: float) -> Turn:
    """Return a turn of *turns*, which the caller has to leave.

    Raises:
        UploadBusyError: none came free in time, or too many wait already.
    """
    loop = asyncio.get_running_loop()
    granted: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        loop.call_soon_threadsafe(_set, granted)

    turn = turns.ask(wake)
    if turn is None:
        raise _busy(within_seconds)
    if turn.granted:
        return turn
    try:
        async with asyncio.timeout(within_seconds):
            await granted
    except TimeoutError:
        turns.leave(turn)
        raise _busy(within_seconds) from None
    except BaseException:
        # Cancelled, perhaps right when the turn was handed on: then it goes to the next.
        turns.leave(turn)
        raise
    return turn


def turn_in_thread(turns: Turns, within_seconds: float) -> Turn:
    """Return a turn of *turns*, which the caller has to leave; the thread waits for it.

    Raises:
        UploadBusyError: none came free in time, or too many wait already.
    """
    granted = threading.Event()
    turn = turns.ask(granted.set)
    if turn is None:
        raise _busy(within_seconds)
    try:
        if not turn.granted and not granted.wait(within_seconds):
            raise _busy(within_seconds)
    except BaseException:
        turns.leave(turn)
        raise
    return turn


def _set(granted: asyncio.Future[None]) -> None:
    if not granted.done():  # it may have been given up meanwhile
        granted.set_result(None)


def _busy(waited_seconds: float) -> UploadBusyError:
    seconds = max(1, math.ceil(waited_seconds))
    return UploadBusyError(
        f"too many uploads are under way: try again in {seconds} s", retry_after_seconds=seconds
    )
