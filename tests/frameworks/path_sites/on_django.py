"""Django in one file, with the limits around both of its doors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from tests.frameworks.path_sites.limits import LARGE, LIMITS, SLOW, TEXT, pieces, uploads

from tonnage import Tonnage, TonnageWSGI

settings.configure(
    SECRET_KEY="for tests only",
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
)


def limited(request: HttpRequest) -> HttpResponse:
    """Be limited in rate."""
    return HttpResponse("ok")


def echo(request: HttpRequest) -> HttpResponse:
    """Count a body."""
    return HttpResponse(str(len(request.body)))


def read_json(request: HttpRequest) -> HttpResponse:
    """Read a body."""
    return HttpResponse(str(len(json.loads(request.body))))


def upload(request: HttpRequest) -> HttpResponse:
    """Take a file."""
    kind, length = request.META["CONTENT_TYPE"], request.META["CONTENT_LENGTH"]
    with uploads.receive_stream(request, content_type=kind, content_length=length) as files:
        return HttpResponse(files["photo"].type)


def text(request: HttpRequest) -> HttpResponse:
    """Say what gains by compression."""
    return HttpResponse(TEXT, content_type="text/plain", headers={"X-Powered-By": "tea"})


def large(request: HttpRequest) -> HttpResponse:
    """Say too much at once."""
    return HttpResponse(LARGE)


def endless(request: HttpRequest) -> StreamingHttpResponse:
    """Say too much in the end."""
    is_async = hasattr(request, "scope")
    content = in_turn() if is_async else pieces()
    return StreamingHttpResponse(content, content_type="application/octet-stream")


async def in_turn() -> AsyncIterator[bytes]:
    """Yield the pieces as an asynchronous server wants them."""
    for piece in pieces():
        yield piece
        await asyncio.sleep(0)


async def slow(request: HttpRequest) -> HttpResponse:
    """Take longer than there is time."""
    await asyncio.sleep(20)
    return HttpResponse("late")


urlpatterns = [
    path("limited", limited),
    path("echo", echo),
    path("json", read_json),
    path("upload", upload),
    path("text", text),
    path("large", large),
    path("pieces", endless),
    path("events", endless),
    path("slow", slow),
]

asgi = Tonnage(get_asgi_application(), **LIMITS | {"routes": LIMITS["routes"] | SLOW})
wsgi = TonnageWSGI(get_wsgi_application(), **LIMITS)
