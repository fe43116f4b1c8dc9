"""``Uploads``: what an application asks for, and how a body gets from the server to the disk.

    uploads = Uploads(max_bytes="2M", types=["image/jpeg", "image/png"], concurrent=2)

    async with uploads.receive(request) as files:
        files["photo"].move_to(folder)

In order: the headers are judged, a turn is waited for, and the body is read in pieces of 64 KB.
Each is written before the next is asked for, so that the server stops reading from the socket
meanwhile. The turn lasts until the block ends, since what an application does with a file is what
usually costs the memory. Then everything that was not moved away is gone, also after an error, a
client that went away, a cancelled request, or ``kill -9``: the files have no names.

Forms are read and files written in threads of its own, at most two: a write waits for the disk
when that is slow, and the event loop must not. Turns and threads are those of one process: with
four workers there are four times as many.

What a body may be is ``intake``'s matter; a deadline for the handler is the middleware's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tonnage.checks import read, whole
from tonnage.errors import ConfigError
from tonnage.units import KIB, format_bytes, parse_bytes, parse_seconds
from tonnage.web.path.uploads.asking import Readable, Request, asgi_of, headers_of
from tonnage.web.path.uploads.counting import Counts, UploadStatistics
from tonnage.web.path.uploads.errors import UploadCutError, UploadError, UploadTooSlowError
from tonnage.web.path.uploads.filetypes import AllowedTypes
from tonnage.web.path.uploads.intake import Intake
from tonnage.web.path.uploads.limits import UploadLimits, flush_bytes
from tonnage.web.path.uploads.spooldir import find_directory, is_in_memory
from tonnage.web.path.uploads.turns import Turn, Turns
from tonnage.web.path.uploads.waiting import turn_in_loop, turn_in_thread

if TYPE_CHECKING:
    import os

    from tonnage.web.path.uploads.files import Files
    from tonnage.web.respond import Receive

log = logging.getLogger("tonnage.uploads")
T = TypeVar("T")

# As much as a server has when it stops reading from the socket (uvicorn: 64 KB). A hop to the
# thread costs some 60 us, and this makes 32 of them for 2 MB.
_PIECE_BYTES: Final = 64 * KIB
# They wait for the same disk: four were no faster than two, and each has a stack and a heap.
_THREADS: Final = 2
_NEEDED: Final = ("python_multipart.multipart", "filetype")


class Uploads:
    """Receives files within limits; one object for all requests to which the limits apply.

    Nothing is opened or started before the first upload.

    Args:
        max_bytes: the size of all files of a request together.
        types: what their content may be, such as ``image/jpeg`` or ``image/*``; None: anything.
        concurrent: how many requests at once, in this process, until their blocks end.
        wait: how long others wait for their turn.
        waiting: how many may wait; who comes after them is refused at once.
        within: the time in which a whole body must have come.
        max_files: how many files a form may have.
        max_fields: how many fields a form may have besides its files.
        max_fields_bytes: the size of all fields of a form together, in memory.
        directory: where files are kept meanwhile; None: ``$TMPDIR``, ``/tmp`` or ``/var/tmp``,
            whichever is on a disk.
        in_memory: whether the directory may be in memory (a tmpfs).

    Raises:
        ConfigError: one of these makes no sense, or the extra ``uploads`` is not installed.
    """

    def __init__(
        self,
        *,
        max_bytes: int | str = "2M",
        types: Iterable[str] | None = None,
        concurrent: int = 4,
        wait: float | str = "5s",
        waiting: int = 64,
        within: float | str = "60s",
        max_files: int = 8,
        max_fields: int = 100,
        max_fields_bytes: int | str = "64K",
        directory: str | os.PathLike[str] | None = None,
        in_memory: bool = False,
    ) -> None:
        _import_parsers()
        self._concurrent = whole("concurrent", concurrent, 1)
        self._limits = UploadLimits(
            max_bytes=read("max_bytes", max_bytes, parse_bytes),
            max_files=whole("max_files", max_files, 1),
            max_fields=whole("max_fields", max_fields, 0),
            max_fields_bytes=read("max_fields_bytes", max_fields_bytes, parse_bytes),
            types=None if types is None else AllowedTypes(types),
            directory=find_directory(directory, in_memory=in_memory),
            flush_bytes=flush_bytes(concurrent),
        )
        self._wait_seconds = read("wait", wait, parse_seconds)
        self._within_seconds = read("within", within, parse_seconds)
        self._turns = Turns(concurrent, whole("waiting", waiting, 0))
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._counts = Counts()
        _living.add(self)
        if is_in_memory(self._limits.directory):
            log.warning(
                "uploads are kept in memory, in %s: up to %s for each worker",
                self._limits.directory,
                format_bytes(self._limits.max_bytes * concurrent),
            )

    @property
    def limits(self) -> UploadLimits:
        """What an upload may be."""
        return self._limits

    def statistics(self) -> UploadStatistics:
        """Return what was received and refused so far."""
        return self._counts.statistics(self._turns.queued)

    @asynccontextmanager
    async def receive(
        self, request: Request | Mapping[str, Any], receive: Receive | None = None
    ) -> AsyncIterator[Files]:
        """Receive the files of *request*; they are there until the block ends.

        Args:
            request: a request of Starlette or FastAPI whose body nobody has read; or an ASGI scope.
            receive: ASGI's ``receive`` if *request* is a scope.

        Raises:
            UploadError: it is refused; see its subclasses.
        """
        scope, receive = asgi_of(request, receive)
        with self._counts.refusals():
            intake = Intake(self._limits, **headers_of(scope))
            turn = await turn_in_loop(self._turns, self._wait_seconds)
        self._counts.began()
        try:
            with self._counts.refusals():
                files = await self._take(intake, receive)
            self._counts.received(len(files), intake.received_bytes)
            yield files
        except BaseException as error:
            await self._let_go(intake, instead=error)
            raise
        else:
            await self._let_go(intake)
        finally:
            self._leave(turn)

    @contextmanager
    def receive_wsgi(self, environ: Mapping[str, Any]) -> Iterator[Files]:
        """Receive the files of a WSGI request (Flask: ``request.environ``), in its own thread.

        Raises:
            UploadError: it is refused; see its subclasses.
        """
        length = environ.get("CONTENT_LENGTH") or None
        if length is None and not environ.get("HTTP_TRANSFER_ENCODING"):
            length = "0"  # WSGI: nobody may read on without a length
        with self.receive_stream(
            environ["wsgi.input"],
            content_type=environ.get("CONTENT_TYPE") or "",
            content_length=length,
            content_encoding=environ.get("HTTP_CONTENT_ENCODING") or "",
            content_disposition=environ.get("HTTP_CONTENT_DISPOSITION") or "",
        ) as files:
            yield files

    @contextmanager
    def receive_stream(
        self,
        stream: Readable,
        *,
        content_type: str = "",
        content_length: str | int | None = None,
        content_encoding: str = "",
        content_disposition: str = "",
    ) -> Iterator[Files]:
        """Receive the files of a body that *stream* reads (Django: the request itself).

        The time is looked at between reads; a read that never returns is the server's to end.

        Args:
            stream: what to read from, in the caller's thread.
            content_type: the header.
            content_length: the header; None: until the stream ends.
            content_encoding: the header.
            content_disposition: the header, for the name of a raw body.

        Raises:
            UploadError: it is refused; see its subclasses.
        """
        length = None if content_length is None else str(content_length)
        with self._counts.refusals():
            intake = Intake(
                self._limits,
                content_type=content_type.encode("latin-1", "replace"),
                content_length=None if length is None else length.encode("latin-1", "replace"),
                content_encoding=content_encoding.encode("latin-1", "replace"),
                content_disposition=content_disposition.encode("latin-1", "replace"),
            )
            turn = turn_in_thread(self._turns, self._wait_seconds)
        self._counts.began()
        try:
            with self._counts.refusals():
                files = self._read(intake, stream)
            self._counts.received(len(files), intake.received_bytes)
            yield files
        except BaseException as error:
            _close_instead(intake, error)
            raise
        else:
            intake.close()
        finally:
            self._leave(turn)

    async def _take(self, intake: Intake, receive: Receive) -> Files:
        """Feed the body to *intake*, no faster than that takes it."""
        try:
            async with asyncio.timeout(self._within_seconds) as limit:
                buffer = bytearray()
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise UploadCutError("the client went away before all of it had come")
                    body: bytes = message.get("body", b"")
                    is_last = not message.get("more_body", False)
                    # Small pieces are gathered; a large one, the usual case, is not copied.
                    if buffer or not (is_last or len(body) >= _PIECE_BYTES):
                        buffer += body
                        body = b""
                    if is_last or body or len(buffer) >= _PIECE_BYTES:
                        if buffer:
                            body, buffer = bytes(buffer), bytearray()
                        del message
                        files = await self._in_thread(_feed, intake, body, is_last)
                        if files is not None:
                            return files
        except TimeoutError:
            if limit.expired():
                raise self._too_slow() from None
            raise

    def _read(self, intake: Intake, stream: Readable) -> Files:
        """Read the body in this thread."""
        deadline = time.monotonic() + self._within_seconds
        left = intake.expected_bytes
        while left is None or left > 0:
            piece = stream.read(_PIECE_BYTES if left is None else min(_PIECE_BYTES, left))
            if not piece:
                break
            intake.feed(piece)
            if left is not None:
                left -= len(piece)
            if time.monotonic() > deadline:
                raise self._too_slow()
        return intake.finish()

    def _leave(self, turn: Turn) -> None:
        self._counts.ended()
        self._turns.leave(turn)

    def _too_slow(self) -> UploadTooSlowError:
        return UploadTooSlowError(
            f"the upload took longer than {self._within_seconds:g} s: try again, or send less"
        )

    async def _let_go(self, intake: Intake, instead: BaseException | None = None) -> None:
        """Close *intake* in a thread, once what is being written there is written."""
        if instead is None:
            # If this is cancelled the thread goes on, and closes it all the same.
            await asyncio.shield(self._in_thread(intake.close))
        else:
            await asyncio.shield(self._in_thread(_close_instead, intake, instead))

    def _in_thread(self, do: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        # Through the loop, so that a server which follows a request's work in threads sees it.
        return asyncio.get_running_loop().run_in_executor(self._pool(), do, *arguments)

    def _pool(self) -> ThreadPoolExecutor:
        # Made when first used: threads do not survive the fork of a preloading server.
        with self._lock:
            if self._executor is None:
                threads = min(self._concurrent, _THREADS)
                self._executor = ThreadPoolExecutor(threads, thread_name_prefix="tonnage-upload")
            return self._executor


def _import_parsers() -> None:
    """Load what reading uploads needs: before a preloading server forks, so that it is shared.

    Raises:
        ConfigError: it is not installed.
    """
    for name in _NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"uploads need {error.name}: pip install 'tonnage[uploads]'"
            ) from None


def _feed(intake: Intake, piece: bytes, is_last: bool) -> Files | None:
    if piece:
        intake.feed(piece)
    return intake.finish() if is_last else None


def _close_instead(intake: Intake, error: BaseException) -> None:
    """Close *intake* while *error* is on its way, which is what the caller must see."""
    try:
        intake.close()
    except UploadError as failed:
        log.error("after %r: %s", error, failed)


def living() -> list[Uploads]:
    """Return those of this process."""
    return list(_living)


# All of this process, held weakly.
_living: weakref.WeakSet[Uploads] = weakref.WeakSet()
