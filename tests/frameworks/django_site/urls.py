"""The views and where they are."""

from __future__ import annotations

import asyncio

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from tests.frameworks.django_site.notes.models import Note
from tests.frameworks.hold import hold


def home(request: HttpRequest) -> HttpResponse:
    """Say hello from a synchronous view."""
    return HttpResponse("hello")


def notes(request: HttpRequest) -> HttpResponse:
    """Write a note, or list them."""
    if request.method == "POST":
        note = Note.objects.create(text=request.POST["text"])
        return JsonResponse({"id": note.pk}, status=201)
    return JsonResponse({"notes": list(Note.objects.values_list("text", flat=True))})


async def slow(request: HttpRequest) -> HttpResponse:
    """Wait in an asynchronous view."""
    await asyncio.sleep(0.01)
    return HttpResponse("waited")


def hold_memory(request: HttpRequest) -> HttpResponse:
    """Hold memory in a synchronous view."""
    return JsonResponse({"mb": hold(**{name: int(value) for name, value in request.GET.items()})})


def count(request: HttpRequest) -> HttpResponse:
    """Count a body."""
    return JsonResponse({"bytes": len(request.body)})


def upload(request: HttpRequest) -> HttpResponse:
    """Take a file."""
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "bytes": len(file.read())})


def post(request: HttpRequest, slug: str) -> HttpResponse:
    """Show what is called by a word."""
    return HttpResponse(slug)


urlpatterns = [
    path("", home),
    path("notes", notes),
    path("slow", slow),
    path("hold", hold_memory),
    path("count", count),
    path("upload", upload),
    path("posts/<slug:slug>", post),
]
