"""Photo in, cut-out out: an ASGI application to mount in any other, or to serve by itself.

    app.mount("/cutouts", images.cutout_app(background="white"))     # Starlette, FastAPI

=====================  ============================================================================
``POST /``             a photo, raw or in a form: 202 with the job; with ``?wait=20`` the picture
``GET /ID``            how far the job is
``GET /ID/events``     the same as it changes (:mod:`.events`)
``GET /ID/picture``    the picture
``DELETE /ID``         ends the job, or forgets what it has made
=====================  ============================================================================

Whoever has a job's id may ask for it; ids cannot be guessed. Whatever is refused is answered with
problem details, under any server. What is bounded, and where, is :class:`~.jobs.PictureJobs`' and
:class:`~tonnage.Uploads`'.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from tonnage.errors import RequestRefusedError
from tonnage.images.kit import answers
from tonnage.images.kit.answers import Reply, reply_with_picture, reply_with_status
from tonnage.images.kit.events import Events
from tonnage.images.kit.jobs import PictureJobs
from tonnage.images.kit.request import MountedRequest
from tonnage.problem import Problem
from tonnage.web.path.ratelimit import RateLimiter
from tonnage.web.path.uploads import Uploads
from tonnage.web.respond import respond

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Unpack

    from tonnage.images.background.remove import Options
    from tonnage.images.kit.answers import Headers
    from tonnage.images.kit.status import Status
    from tonnage.rates.limits import LimitsLike
    from tonnage.web.respond import Receive, Scope, Send

R = TypeVar("R")

#: What is taken for a photo.
TYPES: Final = ("image/jpeg", "image/png", "image/webp")
#: How long a request may wait for its picture.
LONGEST_WAIT_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1


class PictureApp:
    """The routes around :class:`~.jobs.PictureJobs`.

    Args:
        jobs: what makes the pictures.
        uploads: what is taken for a photo.
        rate: how many photos a client may send, as ``"20/1h"``; None: any number.
    """

    def __init__(self, jobs: PictureJobs, uploads: Uploads, rate: LimitsLike | None = None) -> None:
        self.jobs: Final = jobs
        self._uploads = uploads
        self._limiter = None if rate is None else RateLimiter(rate, name="photos")
        self._events = Events(self._status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await respond(scope, receive, send, answers.NOT_FOUND.answer())
            return
        request = MountedRequest(scope)
        try:
            reply = await self._route(request, receive, send)
        except RequestRefusedError as error:
            await respond(scope, receive, send, error.problem.answer())
            return
        if reply is not None:
            await _send(request, send, reply)

    async def _route(self, request: MountedRequest, receive: Receive, send: Send) -> Reply | None:
        """Return what is to be answered; None: it was.

        Raises:
            RequestRefusedError: it is refused.
        """
        match request.method, request.parts:
            case "POST", ():
                return await self._take(request, receive)
            case "GET", (id,):
                return reply_with_status(200, await self._known(id), request.prefix)
            case "DELETE", (id,):
                await self._known(id)
                await self._ask(self.jobs.cancel, id)
                return answers.NO_CONTENT
            case "GET", (id, "events") if request.scope["method"] == "GET":
                return await self._events.serve(request, await self._known(id), receive, send)
            case "GET", (id, "picture"):
                return await self._picture(request, await self._known(id))
            case _, ():
                raise RequestRefusedError(answers.not_allowed("POST"))
            case _, (_,):
                raise RequestRefusedError(answers.not_allowed("GET, HEAD, DELETE"))
            case _, (_, "events"):
                raise RequestRefusedError(answers.not_allowed("GET"))
            case _, (_, "picture"):
                raise RequestRefusedError(answers.not_allowed("GET, HEAD"))
        raise RequestRefusedError(answers.NOT_FOUND)

    async def _take(self, request: MountedRequest, receive: Receive) -> Reply:
        """Take a photo; if the client would wait for its picture, wait too."""
        headers = self._counted(request)
        async with self._uploads.receive(request.scope, receive) as files:
            status = await asyncio.to_thread(self.jobs.submit, files.only)
        until_seconds = time.monotonic() + request.wait_seconds(LONGEST_WAIT_SECONDS)
        while not status.is_over and time.monotonic() < until_seconds:
            await asyncio.sleep(_LOOK_SECONDS)
            status = await self._known(status.id)
        if status.is_over:
            return await self._picture(request, status)
        reply = reply_with_status(202, status, request.prefix)
        return Reply(reply.status, reply.body, (*reply.headers, *headers))

    async def _picture(self, request: MountedRequest, status: Status) -> Reply:
        problem = answers.why_no_picture(status)
        if problem is not None:
            raise RequestRefusedError(problem)
        content = await asyncio.to_thread(self.jobs.content, status.id)
        return reply_with_picture(request, status, content, time.time())

    def _counted(self, request: MountedRequest) -> Headers:
        """Count one photo of this client, and return what is to be said of that.

        Raises:
            RequestRefusedError: it has sent too many.
        """
        if self._limiter is None:
            return ()
        said = self._limiter.check(request.scope)
        if isinstance(said, Problem):
            raise RequestRefusedError(said)
        return said

    async def _known(self, id: str) -> Status:
        """Return the status of a job.

        Raises:
            RequestRefusedError: nobody knows it.
        """
        status = await self._status(id)
        if status is None:
            raise RequestRefusedError(answers.NOT_FOUND)
        return status

    async def _status(self, id: str) -> Status | None:
        return await self._ask(self.jobs.status, id)

    async def _ask(self, method: Callable[[str], R], id: str) -> R:
        """Call a method of the jobs: it takes microseconds, unless it has to ask Redis."""
        if self.jobs.may_block:
            return await asyncio.to_thread(method, id)
        return method(id)


def cutout_app(
    *,
    max_upload: int | str = "2M",
    uploads_at_once: int = 1,
    directory: str | os.PathLike[str] | None = None,
    rate: LimitsLike | None = None,
    name: str = "cutouts",
    at_once: int = 1,
    waiting: int = 16,
    patience: float | str = "2m",
    keep_results: float | str = "10m",
    keep_bytes: int | str = "64M",
    **options: Unpack[Options],
) -> PictureApp:
    """Return the routes that remove the background of photos.

    Args:
        max_upload: the largest photo that is taken, in bytes.
        uploads_at_once: how many are received at a time, in each worker.
        directory: where they are meanwhile; see :class:`tonnage.Uploads`.
        rate: how many photos a client may send, as ``"20/1h"``.
        name: what results are kept under; a second such application needs another.
        at_once: how many jobs of each worker are handed on at a time; how many of those run on
            the machine is ``--job-slots``' matter.
        waiting: how many of each worker wait for that; further photos get 503.
        patience: how long a job waits for its turn before it fails.
        keep_results: for how long a cut-out is kept.
        keep_bytes: what all that is kept may take, on disk.
        options: those of :func:`tonnage.images.remove_background`: ``model``, ``background``,
            ``crop``, ``max_width``, ``max_height``, ``quality``, ``format``, ``memory``,
            ``timeout``, ``keep_warm`` and so on.

    Raises:
        ConfigError: an option makes no sense, or what it needs is not installed.
        ModelError: there is no such model.
    """
    from tonnage.images.background.remove import remove_background

    remove_background.check(**options)
    jobs = PictureJobs(
        partial(remove_background, **options),
        name=name,
        at_once=at_once,
        waiting=waiting,
        patience=patience,
        keep=keep_results,
        keep_bytes=keep_bytes,
    )
    uploads = Uploads(
        max_bytes=max_upload,
        types=TYPES,
        concurrent=uploads_at_once,
        max_files=1,
        directory=directory,
    )
    return PictureApp(jobs, uploads, rate)


async def _send(request: MountedRequest, send: Send, reply: Reply) -> None:
    body = b"" if request.scope["method"] == "HEAD" else reply.body
    headers = reply.all_headers()
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    """Say that there is nothing to start; served by itself, a server may ask."""
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
