"""The thread beside requests."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest
from tests.support.forking import fork, status_of

from tonnage.stores.background import Background, background, begin, on_begin


async def _where() -> str:
    return threading.current_thread().name


def test_it_runs_in_one_thread_of_its_own() -> None:
    """It runs in one thread of its own."""
    assert background() is background()
    assert background().start(_where()).result(5) == "tonnage-stores"
    assert not background().is_here


_request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


def test_what_runs_there_is_no_requests() -> None:
    """What runs there knows nothing of the request that began it."""

    async def whose() -> str:
        return _request.get()

    def ask() -> str:
        _request.set("first")
        return background().start(whose()).result(5)

    assert contextvars.copy_context().run(ask) == "none"


def test_a_call_from_a_request_is_no_requests() -> None:
    """What is called there knows nothing of the request that had it called."""
    found: Future[str] = Future()

    def ask() -> None:
        _request.set("first")
        background().call(lambda: found.set_result(_request.get()))

    contextvars.copy_context().run(ask)
    assert found.result(5) == "none"


def test_what_is_registered_is_closed_together_and_within_the_deadline(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is registered is closed together and within the deadline."""
    own = Background()
    closed: list[str] = []

    async def close_well() -> None:
        closed.append("well")

    async def fail() -> None:
        raise ValueError("broken")

    async def dawdle() -> None:
        await asyncio.sleep(60)

    async def never() -> None:
        closed.append("never")

    for each in (close_well, fail, dawdle, never):
        own.on_close(each)
    own.forget(never)
    own.close(0.2)
    assert closed == ["well"]
    assert "a store could not be closed" in caplog.text
    assert "1 stores did not finish within 0.2 s" in caplog.text
    own.close(0.2)
    assert closed == ["well"]


def test_what_is_to_begin_with_the_worker_does_while_it_lives() -> None:
    """What is to begin with the worker does, while it lives."""
    begun: list[str] = []

    class Store:
        def __init__(self, name: str) -> None:
            self.name = name

        def begin(self) -> None:
            begun.append(self.name)

    stores = [Store("first"), Store("second")]
    for store in stores:
        on_begin(store.begin)
    del store, stores[1]
    begin()
    assert [each for each in begun if each in ("first", "second")] == ["first"]


def test_a_child_begins_anew() -> None:
    """A child begins anew."""
    background().start(_where()).result(5)

    def child() -> None:
        assert background().start(_where()).result(5) == "tonnage-stores"

    assert status_of(fork(child)) == 0


def test_at_the_end_of_the_interpreter_stores_are_closed() -> None:
    """At the end of the interpreter stores are closed."""
    code = """
from tonnage.stores.background import background

async def close():
    print("closed")

background().on_close(close)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("closed\n", "")


def test_a_socket_that_cannot_be_read_for_want_of_memory_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The event loop closes it and writes a traceback; whoever has it connects anew."""

    class Short(socket.socket):
        def recv(self, *given: int) -> bytes:
            raise MemoryError

    async def lost() -> object:
        ours, theirs = socket.socketpair()
        short = Short(fileno=ours.detach())
        short.setblocking(False)
        is_lost: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        class Reader(asyncio.Protocol):
            def connection_lost(self, error: Exception | None) -> None:
                is_lost.set_result(error)

        with theirs:
            await asyncio.get_running_loop().create_connection(Reader, sock=short)
            theirs.send(b"x")
            return await is_lost

    assert isinstance(background().start(lost()).result(5), MemoryError)
    (record,) = caplog.records
    assert (record.name, record.levelname, record.exc_info) == ("tonnage.stores", "WARNING", None)
    assert record.getMessage().startswith("beside requests there was no memory just now: Fatal")


def test_other_errors_of_the_loop_are_told_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """With the traceback."""

    def fail() -> None:
        raise LookupError("a mistake")

    async def turn() -> None:
        await asyncio.sleep(0)

    background().call(fail)
    background().start(turn()).result(5)
    (record,) = caplog.records
    assert (record.name, record.exc_info is not None) == ("asyncio", True)


def test_what_is_closed_at_the_end_may_still_use_threads() -> None:
    """A sink that writes in a thread has one for its last batch, though Python is ending."""
    code = """
import asyncio
from tonnage.stores.background import background

async def close():
    print(await asyncio.to_thread(str, "closed"))

background().on_close(close)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("closed\n", "")
