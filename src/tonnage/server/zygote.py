"""The zygote: imports the application once, then forks a worker or a job whenever it is asked to.

Its own process, forked by the supervisor before anything is imported, so that the two share the
bare interpreter. It has one thread and serves nothing. Whoever is forked is so twice over: the
process in between ends at once, so that the other becomes the supervisor's child (a "subreaper"),
which then learns of its end from the kernel itself and keeps it when the zygote goes.

:class:`Zygote` is the supervisor's handle, :func:`zygote_main` the process.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from tonnage.errors import TargetError, WorkerError
from tonnage.host.channel import Channel, Dialogue
from tonnage.host.descriptors import open_descriptors
from tonnage.host.forking import end_with, fork_into
from tonnage.host.forksafety import sockets_opened, why_not_fork
from tonnage.host.malloc import Heap
from tonnage.host.pages import drop_file_pages
from tonnage.host.prctl import end_with_parent, name_process
from tonnage.jobs.call import Call
from tonnage.jobs.messages import JOBS
from tonnage.logs import ring
from tonnage.server.loader import load_all, load_or_tell
from tonnage.server.messages import WORKERS, Failed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.jobs.messages import JobChannel
    from tonnage.server.assignment import Assignment
    from tonnage.server.loader import Loaded
    from tonnage.server.messages import WorkerChannel
    from tonnage.settings import Settings

logger = logging.getLogger("tonnage.zygote")

# An application that has imported this has jobs to run.
_JOBS: Final = "tonnage.jobs.isolated"
# Of caches and the like, named in a message.
_MOST_STORES: Final = 50
# Of connections that the import has opened; one is a mistake already.
_MOST_SOCKETS: Final = 20
# From the end of its channel to a process's own.
_ENDING_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Imported:
    """The application is imported.

    Attributes:
        seconds: how long that took.
        why_not: why forking is not safe; None: it is.
        stores: caches and the like that the import has made: pairs of name and bound in bytes.
        has_jobs: it has jobs to run apart.
        sockets: connections that the import has opened, in words.
    """

    seconds: float
    why_not: str | None
    stores: list[tuple[str, int]]
    has_jobs: bool
    sockets: list[str]


@dataclass(frozen=True, slots=True)
class ForkWorker:
    """Fork a worker for slot *index*; its end of the channel comes along."""

    index: int
    queue_requests: int


@dataclass(frozen=True, slots=True)
class ForkJob:
    """Fork a job's process for *call*; its channel and the data socket come along."""

    call: Call


ToZygote = ForkWorker | ForkJob
FromZygote = Imported | Failed

ZYGOTES: Final[Dialogue[ToZygote, FromZygote]] = Dialogue(ToZygote, FromZygote)


class Zygote:
    """The supervisor's handle on a zygote process."""

    def __init__(self, pid: int, channel: Channel[ToZygote, FromZygote]) -> None:
        self.pid = pid
        self.channel = channel
        self.begun_seconds = time.monotonic()
        self.seconds = 0.0
        self.why_not: str | None = None
        #: The application has jobs to run apart.
        self.has_jobs = False
        #: Caches and the like that the import has made, with their bounds in bytes.
        self.stores: tuple[tuple[str, int], ...] = ()

    @classmethod
    def start(cls, assignment: Assignment) -> Zygote:
        """Fork the process; the import goes on there.

        Raises:
            WorkerError: the system has no process left, or no descriptor.
        """
        try:
            ours, theirs = ZYGOTES.pair()
        except OSError as error:
            raise _not_started(error) from error
        kept = assignment.kept_descriptors(theirs)
        try:
            pid = fork_into(lambda: zygote_main(assignment, theirs), kept)
        except OSError as error:
            ours.close()
            raise _not_started(error) from error
        finally:
            theirs.close()
        # A zygote that does not read must not hold up the supervisor.
        ours.setblocking(False)
        return cls(pid, ours)

    def await_ready(self, timeout_seconds: float) -> None:
        """Wait for the import to end; ``why_not`` then says why forking is not safe, if it is not.

        Raises:
            TargetError: the application was not found or is none.
            WorkerError: its own code failed, took longer than *timeout_seconds*, or the process
                was ended, as by the kernel where memory ran out.
        """
        readable, _, _ = select.select([self.channel], [], [], timeout_seconds)
        if not readable:
            raise WorkerError(
                f"importing the application took more than {timeout_seconds:g} s; "
                "see --start-seconds"
            )
        try:
            received = self.channel.receive()
        except EOFError:
            raise WorkerError(_told_end(self.pid)) from None
        message = received[0] if received is not None else Failed("the import was not heard of")
        if isinstance(message, Failed):
            error = TargetError if message.is_mistaken else WorkerError
            raise error(message.error)
        self.seconds = message.seconds
        self.why_not = message.why_not
        self.has_jobs = message.has_jobs
        self.stores = tuple((name, size_bytes) for name, size_bytes in message.stores)
        for opened in message.sockets:
            logger.warning(
                "importing the application opened %s, which all workers would share: open "
                "connections in its startup instead",
                opened,
            )

    def fork(self, assignment: Assignment) -> WorkerChannel | None:
        """Have a worker forked for *assignment*; return the channel to it, None if this fails."""
        ours, theirs = WORKERS.pair()
        wanted = ForkWorker(assignment.index, assignment.queue_requests)
        sent = self.channel.send(wanted, fds=(theirs.fileno(),))
        theirs.close()
        if not sent:
            ours.close()
            return None
        return ours

    def fork_job(self, call: Call, data: int) -> JobChannel | None:
        """Have a process forked for *call*, with the descriptor *data*; return the channel to it.

        None if this fails.
        """
        ours, theirs = JOBS.pair()
        sent = self.channel.send(ForkJob(call), fds=(theirs.fileno(), data))
        theirs.close()
        if not sent:
            ours.close()
            return None
        return ours

    def stop(self) -> None:
        """End the process, also in the middle of an import; harmless if it has ended.

        It has no state: workers have become the supervisor's own children.
        """
        self.channel.close()
        self.kill()

    def kill(self) -> None:
        """End the process, and leave the channel to tell of it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def _not_started(error: OSError) -> WorkerError:
    return WorkerError(f"no process can be started to import the application: {error.strerror}")


def _told_end(pid: int) -> str:
    """Return how the process *pid* ended, which has just closed its channel."""
    deadline = time.monotonic() + _ENDING_SECONDS
    with suppress(ChildProcessError):  # somebody else has heard of it already
        while time.monotonic() < deadline:
            # Whoever keeps account of processes is to hear of it too.
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                if ended.si_code == os.CLD_KILLED and ended.si_status == signal.SIGKILL:
                    return (
                        "the process that imported the application was ended by SIGKILL: by the "
                        "kernel, if it needs more memory than there is"
                    )
                break
            time.sleep(_ENDING_SECONDS / 100)
    return "the application ended the process while it was imported"


def zygote_main(assignment: Assignment, channel: Channel[FromZygote, ToZygote]) -> int:
    """Import, report, then fork on request until the supervisor closes the channel."""
    name_process("tonnage-zygote")
    # Two of them where one imports anew beside the other.
    ring.keep("zygote", "second zygote")
    signal.set_wakeup_fd(-1)
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # These reach the whole process group. The zygote ends when its channel does, so that the
        # supervisor alone decides when.
        signal.signal(ignored, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    begun, known = time.perf_counter(), open_descriptors()
    settings = assignment.settings
    loaded = load_or_tell(settings.app, channel.send, lambda: import_all(settings))
    if loaded is None:
        return 1
    channel.send(
        Imported(
            seconds=time.perf_counter() - begun,
            why_not=why_not_fork(),
            stores=_stores(),
            has_jobs=_JOBS in sys.modules,
            sockets=sockets_opened(known)[:_MOST_SOCKETS],
        )
    )
    while True:
        try:
            received = channel.receive()
        except EOFError:
            return 0
        if received is None:
            continue
        message, fds = received
        if _fork_twice(fds):
            continue
        channel.close()
        if isinstance(message, ForkJob):
            end_with(partial(_become_job, assignment, fds, message.call))
        told = replace(assignment, index=message.index, queue_requests=message.queue_requests)
        end_with(partial(_become_worker, told, fds[0], loaded))


def import_all(settings: Settings) -> Loaded:
    """Import the application, and what every worker needs besides, to be shared.

    Raises:
        TargetError: as :func:`~tonnage.server.loader.load_all`.
        Exception: whatever the application's own code raises.
    """
    import tonnage.server.worker
    from tonnage.server.http import preload

    loaded = load_all(settings)
    preload()
    if _JOBS in sys.modules:
        import tonnage.server.jobs.enter

        if settings.jobs.jobs is not None:
            import tonnage.jobs.queue.producer  # noqa: F401
    # Collect once, then keep the collector away from everything imported: it would write to the
    # pages that workers share.
    gc.collect()
    gc.freeze()
    Heap().trim()
    drop_file_pages()
    return loaded


def _stores() -> list[tuple[str, int]]:
    """Return the caches and the like that the import has made, with their bounds in bytes.

    The largest by name, and the others as one: a message has an end.
    """
    from tonnage.governor.consumers import registry

    bounds = sorted(registry.bounds(), key=lambda bound: bound[1], reverse=True)
    told, others = bounds[:_MOST_STORES], bounds[_MOST_STORES:]
    if others:
        told.append((f"{len(others)} smaller ones", sum(size_bytes for _, size_bytes in others)))
    return told


def _fork_twice(fds: Iterable[int]) -> bool:
    """Fork a process whose parent has ended; return False there, and without *fds* True here.

    Where the system has no process left, whoever has asked learns it from *fds*, which are closed.
    """
    zygote, between = os.getpid(), 0
    try:
        between = os.fork()
        if not between and not os.fork():
            return False
    except OSError as error:
        logger.error("no process can be started: %s", error.strerror)
    if os.getpid() != zygote:
        os._exit(0)
    for fd in fds:
        os.close(fd)
    if between:
        os.waitpid(between, 0)
    return True


def _become_job(assignment: Assignment, fds: list[int], call: Call) -> int:
    from tonnage.server.jobs.enter import enter_job

    assignment.listening.close()
    control, data = fds
    return enter_job(control, data, call)


def _become_worker(assignment: Assignment, fd: int, loaded: Loaded) -> int:
    from tonnage.server.worker import run_worker

    return run_worker(assignment, WORKERS.second(fd), loaded)
