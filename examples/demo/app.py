"""The demonstration: FitFlix, LvlUp, Fibuca and Eventide behind one server, with a start page.

Each backend is mounted below its name, as it is (:mod:`examples.demo.backends`); whatever is none
of theirs is answered by ``examples/hello``, whose routes hold and leak as much as they are asked
to. The page's buttons have :mod:`examples.demo.control` begin a load. What each request meets is in
``pyproject.toml`` beside this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from examples.demo import control
from examples.demo.backends import eventide, fibuca, fitflix, lvlup
from examples.demo.loads import LOADS, MOST_SECONDS
from examples.hello.app import app as hello
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from tonnage.web.wsgi import Wsgi

THREADS = 16
# This machine, as a peer and in a URL.
LOCAL = ("127.0.0.1", "::1", "localhost")

PAGE = Path(__file__).with_name("page.html").read_bytes()
# It needs nothing from elsewhere, and says so to the browser.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline';"
    " style-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


async def page(_: Request) -> Response:
    """Return the start page."""
    return Response(PAGE, media_type="text/html", headers=HEADERS)


async def loads(request: Request) -> Response:
    """Begin or stop a load, if `?begin=NAME` or `?stop=1` says so; return what it is doing.

    One route for all of it, which the page asks twice a second: so it is known to be small, and
    whoever presses Stop passes the large requests that wait.
    """
    check_origin(request)
    wish = request.query_params
    if "stop" in wish:
        control.stop()
    if "begin" in wish:
        begin(wish["begin"], wish.get("seconds", f"{MOST_SECONDS}"), request.scope["server"][1])
    return JSONResponse(control.state(), headers={"Cache-Control": "no-store"})


def begin(name: str, seconds: str, port: int) -> None:
    """Begin the load *name*.

    Raises:
        HTTPException: there is one already, none of this name, or none that lasts so long.
    """
    if name not in LOADS:
        raise HTTPException(404, f"there is no load {name!r}: there are {', '.join(LOADS)}")
    if not seconds.isdecimal() or not 1 <= int(seconds) <= MOST_SECONDS:
        raise HTTPException(422, f"a load lasts from 1 to {MOST_SECONDS} seconds")
    if not control.begin(name, port, int(seconds)):
        raise HTTPException(409, "there is a load already: stop it, or wait for its end")


def check_origin(request: Request) -> None:
    """Refuse what does not come from our own page, in a browser on this machine.

    Raises:
        HTTPException: another site's page, or another machine, has sent it.
    """
    origin = urlsplit(request.headers.get("origin", ""))
    is_own = origin.netloc == request.headers.get("host") and origin.hostname in LOCAL
    if not (is_own and request.client is not None and request.client.host in LOCAL):
        raise HTTPException(403, "loads are begun and stopped on the start page")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Begin and end what the backends do: who is mounted is not told by the server."""
    async with AsyncExitStack() as stack:
        for backend in (fitflix, lvlup, eventide):
            await stack.enter_async_context(backend.router.lifespan_context(backend))
        yield


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", page),
        Route("/loads", loads, methods=["POST"]),
        Mount("/fitflix", fitflix),
        Mount("/lvlup", lvlup),
        # The one with a page of its own, whose links begin below this.
        Route("/fibuca", lambda _: RedirectResponse("/fibuca/")),
        # As `tonnage run` has it when it is alone, which has no public name: with a2wsgi's own
        # middleware all routes of Fibuca would be one, and what each costs would not be known.
        Mount("/fibuca", Wsgi(fibuca, ThreadPoolExecutor(THREADS))),
        Mount("/eventide", eventide),
        Mount("/", hello),
    ],
)
