"""Whoever waits for a job hears something, whatever its owner and its process do."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest
from tests.jobs import functions
from tests.support.descriptors import no_descriptor_free
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage import isolated
from tonnage.errors import (
    JobBusyError,
    JobEndedError,
    JobTimeoutError,
    JobTooLargeError,
    RequestRefusedError,
)
from tonnage.host.processes import command_name, descendants
from tonnage.jobs import wire
from tonnage.jobs.asked import Asked
from tonnage.jobs.call import Call
from tonnage.jobs.caller import MOST_JOBS, Caller
from tonnage.jobs.messages import FromCaller, JobAsked, JobCancelled, JobEnded, JobRefused
from tonnage.jobs.outside import start
from tonnage.web.awaited import Awaited
from tonnage.web.respond import Message

CALL = Call("module:function", 2**20, timeout_seconds=30, wait_seconds=10)


class Books:
    """The owner's end of a channel: what it was sent, and the sockets that came with it."""

    def __init__(self) -> None:
        self.sent: list[FromCaller] = []
        self.sockets: list[socket.socket] = []
        self.takes = True
        self.caller = Caller(self.send)

    def send(self, message: FromCaller, *, fds: tuple[int, ...] = ()) -> bool:
        """Take a message."""
        if self.takes:
            self.sent.append(message)
            self.sockets += [socket.socket(fileno=os.dup(fd)) for fd in fds]
        return self.takes

    def ask(self, last_word_seconds: float = 5.0, awaited: Awaited | None = None) -> Asked:
        """Return a job that this owner will be asked for."""
        given = wire.pack(((), {}), 2**20, "it")
        return Asked(CALL, given, self.caller, awaited, last_word_seconds)

    def close_sockets(self) -> None:
        """Let go of the processes' ends."""
        for each in self.sockets:
            each.close()


@pytest.fixture
def books() -> Iterator[Books]:
    """An owner of jobs whose process is played by the test."""
    made = Books()
    yield made
    made.close_sockets()


async def test_it_is_asked_for_with_its_bounds_and_what_it_is_called_with(books: Books) -> None:
    """Both are sent at once: the owner need not ask."""
    async with books.ask():
        assert books.sent == [JobAsked(1, CALL)]
        assert wire.receive(books.sockets[0])[0] is wire.Kind.GIVEN


async def test_a_result_ends_it_and_nothing_is_cancelled(books: Books) -> None:
    """The owner knows that it is done."""
    async with books.ask() as job:
        wire.pack(7, 2**20, "it").send(books.sockets[0], wire.Kind.RESULT)
        _, parcel = await job.receive()
        assert parcel.load() == 7
    assert books.sent == [JobAsked(1, CALL)]


async def test_left_early_it_is_cancelled(books: Books) -> None:
    """Whatever was the reason."""
    async with books.ask():
        pass
    assert books.sent[-1] == JobCancelled(1)


async def test_what_is_given_up_twice_is_cancelled_once(books: Books) -> None:
    """The owner may have another job by then."""
    async with books.ask() as job:
        books.caller.forget(job, cancel=True)
        books.caller.forget(job, cancel=True)
    assert books.sent == [JobAsked(1, CALL), JobCancelled(1)]


async def test_an_owner_that_is_gone_is_told_nothing_any_more(books: Books) -> None:
    """Its channel is closed: who leaves then would meet an error of that."""
    async with books.ask():
        books.caller.lose("it was killed")
    assert books.sent == [JobAsked(1, CALL)]


async def test_its_request_is_not_waited_for_any_more(books: Books) -> None:
    """The owner is told, and the request is answered without further ado."""

    class Gone:
        disconnected = True

        async def receive(self) -> Message:
            return {"type": "http.disconnect"}

    awaited = copy_context().run(Awaited, Gone().receive)
    async with books.ask(awaited=awaited) as job:
        with pytest.raises(JobEndedError, match="nobody waits") as caught:
            await job.receive()
    assert isinstance(caught.value, RequestRefusedError)
    assert books.sent[-1] == JobCancelled(1)


async def test_the_owner_s_word_comes_after_what_was_sent_before_it(books: Books) -> None:
    """They come over two sockets, in any order."""
    async with books.ask() as job:
        wire.pack(7, 2**20, "it").send(books.sockets[0], wire.Kind.ITEM)
        books.caller.on_message(JobEnded(1, "signal", "SIGSEGV"))
        await asyncio.sleep(0)
        assert (await job.receive())[0] is wire.Kind.ITEM
        with pytest.raises(JobEndedError, match="SIGSEGV"):
            await job.receive()


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("queue", JobBusyError),
        ("wait", JobBusyError),
        ("stopping", JobBusyError),
        ("never", JobTooLargeError),
    ],
)
async def test_a_refusal_says_why(books: Books, reason: str, error: type[Exception]) -> None:
    """And when to come again, where that helps."""
    async with books.ask() as job:
        books.caller.on_message(JobRefused(1, reason, "", retry_after_seconds=7))
        with pytest.raises(error) as caught:
            await job.receive()
    if isinstance(caught.value, JobBusyError):
        assert caught.value.problem.status == 503
        assert caught.value.problem.headers == ((b"retry-after", b"7"),)


async def test_a_process_that_is_gone_without_a_word_from_the_owner(books: Books) -> None:
    """The owner's word is awaited for a while only."""
    async with books.ask(last_word_seconds=0.01) as job:
        books.close_sockets()
        with pytest.raises(JobEndedError, match="without a result"):
            await job.receive()
    assert books.sent[-1] == JobCancelled(1)


async def test_an_owner_that_is_silent(books: Books) -> None:
    """All that it may take comes to an end."""
    job = books.ask(last_word_seconds=0.01 - 60 - 40)
    assert 0 < job.longest_seconds < 0.1
    async with job:
        with pytest.raises(JobTimeoutError):
            await job.receive()
    assert books.sent[-1] == JobCancelled(1)


async def test_an_owner_that_takes_nothing(books: Books) -> None:
    """It is overloaded, or gone."""
    books.takes = False
    with pytest.raises(JobBusyError):
        await books.ask().__aenter__()


async def test_more_than_anybody_could_run_are_refused(books: Books) -> None:
    """What is waited for here is bounded too."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        caller = Caller(lambda message, *, fds=(): True)
        jobs = [books.ask() for _ in range(MOST_JOBS + 1)]
        assert [caller.begin(job, theirs) for job in jobs] == [True] * MOST_JOBS + [False]
        caller.forget(jobs[0], cancel=False)
        assert caller.begin(jobs[-1], theirs)


async def test_what_could_not_be_asked_for_takes_no_place(books: Books) -> None:
    """However often there was no memory for it."""
    is_short = True

    def send(message: FromCaller, *, fds: tuple[int, ...] = ()) -> bool:
        if is_short:
            raise MemoryError
        return True

    ours, theirs = socket.socketpair()
    with ours, theirs:
        caller = Caller(send)
        for _ in range(MOST_JOBS):
            with pytest.raises(MemoryError):
                caller.begin(books.ask(), theirs)
        is_short = False
        assert caller.begin(books.ask(), theirs)


def test_where_no_descriptor_is_left_no_owner_is_started() -> None:
    """As many files are open as may be: it is to be asked for again, as where nobody has time."""
    with no_descriptor_free(), pytest.raises(JobBusyError, match="Too many open files"):
        start(lambda gone: None)


async def test_an_owner_that_is_gone_tells_all(books: Books) -> None:
    """Nobody waits for the back-stop."""
    async with books.ask() as one, books.ask() as other:
        books.caller.lose("it was killed")
        for job in (one, other):
            with pytest.raises(JobBusyError):
                await job.receive()


# Without a server: the owner is a process of its own.


@pytest.mark.real
async def test_a_lost_owner_is_told_of_and_the_next_job_has_another(tmp_path: Path) -> None:
    """Its job ends with it."""
    notes = tmp_path / "notes"
    task = asyncio.create_task(note(str(notes)))
    await asyncio.to_thread(await_true, lambda: is_whole(notes), "the job's first line")
    pid = int(notes.read_text())
    os.kill(owner_pid(), signal.SIGKILL)
    with pytest.raises(JobBusyError):
        await task
    await asyncio.to_thread(await_true, lambda: not Path(f"/proc/{pid}").exists(), "the job's end")
    assert await functions.doubled(2) == 4


async def note(path: str) -> str:
    """Have a job run that takes longer than any test."""
    return await isolated(functions.note_and_sleep, path, 60.0)


def owner_pid() -> int:
    """Return the process that has jobs run for this one."""
    return next(p for p in descendants(os.getpid()) if command_name(p) == "tonnage-jobs")


# Under a server that serves WSGI, or imports the application in each process.


@pytest.mark.real
def test_threads_of_a_worker_wait() -> None:
    """They wait apart from the event loop that hears the supervisor."""
    options = ("--memory", "500M", "--workers", "1", "--no-preload")
    with Running("tests.jobs.wsgi_app:app", *options) as it:
        assert it.get("/").body == b"[2, 0, 1]"


def is_whole(notes: Path) -> bool:
    """Return whether a line has been written."""
    return notes.exists() and notes.read_text().endswith("\n")
