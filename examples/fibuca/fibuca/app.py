"""Fibuca: members, their applications, and their cards with a photo. Flask, with an upload form.

The limits that every request meets are in ``pyproject.toml``. Here is who may ask for what; what a
photo may be, and what becomes of it, is in :mod:`fibuca.photos`.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from flask import Flask, Response, render_template, request, send_file

from fibuca import applications, cards, members, photos, refusals
from fibuca.moments import Json
from fibuca.refusals import key_refusal, refusal
from tonnage.images.kit import Status

KINDS = ("single", "family", "youth")
# Who has it is the office; without one, nobody is.
OFFICE_KEY = os.environ.get("FIBUCA_OFFICE_KEY", "")

app = Flask(__name__)
app.json = Json(app)
refusals.register(app)


@app.get("/")
def page() -> str:
    """Return the page to join with, to send a photo, and to get the card."""
    return render_template("page.html")


@app.post("/members")
def join() -> tuple[dict[str, Any], int]:
    """Make a member of whoever has a name; the key is shown this once."""
    name = field("name", 100)
    number, key = members.join(name)
    return {"number": number, "name": name, "key": key}, 201


@app.get("/me")
def show() -> dict[str, Any]:
    """Return the member whose key is sent."""
    member = current_member()
    return {"number": member.number, "name": member.name, "photo": member.photo_type}


@app.delete("/me")
def leave() -> tuple[str, int]:
    """Forget the member, with all applications and the photo."""
    number = current_member().number
    members.leave(number)
    photos.forget(number)
    return "", 204


@app.post("/me/photo")
def send_photo() -> tuple[dict[str, Any], int]:
    """Take a photo, from the form's field or as the body itself; its portrait takes a moment."""
    number = current_member().number
    with photos.uploads.receive_wsgi(request.environ) as files:
        job = photos.jobs.submit(files.only, number)
    return job.described(), 202


@app.get("/me/photo/jobs/<id>")
def show_job(id: str) -> dict[str, Any]:
    """Return how far the portrait is that a photo becomes."""
    return current_member_job(id).described()


@app.delete("/me/photo/jobs/<id>")
def cancel_job(id: str) -> tuple[str, int]:
    """Have a portrait not made."""
    photos.jobs.cancel(current_member_job(id).id)
    return "", 204


@app.get("/me/photo")
def show_photo() -> Response:
    """Return the member's portrait."""
    member = member_with_photo()
    return send_file(photos.portrait_of(member.number), mimetype=member.photo_type)


@app.get("/me/card.<any(png, pdf):kind>")
def show_card(kind: str) -> Response:
    """Return the member's card, to look at or to print."""
    member = member_with_photo()
    card = cards.card_of(member, photos.portrait_of(member.number), kind)
    return Response(card, content_type=cards.TYPES[kind], headers={"Cache-Control": "private"})


@app.post("/me/applications")
def send_application() -> tuple[dict[str, Any], int]:
    """Keep a form that asks for a membership."""
    number = current_member().number
    kind, statement = field("kind", 20), field("statement", 4000)
    if kind not in KINDS:
        raise refusal(422, "bad_kind", f"the field `kind` is one of {', '.join(KINDS)}")
    return {"id": applications.send(number, kind, statement), "kind": kind}, 201


@app.get("/me/applications")
def show_applications() -> dict[str, Any]:
    """Return the member's forms, newest first, 20 at a time and without their statements."""
    return applications.of_member(current_member().number, request.args.get("after"))


@app.get("/office/applications")
def show_all_applications() -> dict[str, Any]:
    """Return everybody's forms to the office, in the same way."""
    must_be_the_office()
    return applications.of_all(request.args.get("after"))


@app.get("/office/applications/<int(max=2147483647):id>")
def show_application(id: int) -> dict[str, Any]:
    """Return one form to the office, with its statement."""
    must_be_the_office()
    return applications.whole(id)


def current_member() -> members.Known:
    """Return who sent the request.

    Raises:
        RequestRefusedError: the key is nobody's.
    """
    return members.who_has(request.headers.get("X-Member-Key", ""))


def current_member_job(id: str) -> Status:
    """Return how far the job *id* is, of whoever sent the request.

    Raises:
        RequestRefusedError: the key is nobody's, or there is no such job of this member's.
    """
    member = current_member()
    job = photos.jobs.status(id)
    if job is None or job.about != member.number:
        raise refusal(404, "no_such_job", "there is no such job of yours, or not any more")
    return job


def member_with_photo() -> members.Known:
    """Return who sent the request, and has sent a photo.

    Raises:
        RequestRefusedError: the key is nobody's, or there is no photo yet.
    """
    member = current_member()
    # A new place may have the database, and not the files.
    if member.photo_type is None or not photos.portrait_of(member.number).is_file():
        raise refusal(404, "no_photo", "there is no photo of yours yet: send one with POST")
    return member


def must_be_the_office() -> None:
    """Let only the office pass.

    Raises:
        RequestRefusedError: its key was not sent, or it has none.
    """
    sent = request.headers.get("X-Office-Key", "")
    if not (OFFICE_KEY and secrets.compare_digest(sent.encode(), OFFICE_KEY.encode())):
        detail = "send the key that FIBUCA_OFFICE_KEY has"
        raise key_refusal("X-Office-Key", "not_the_office", detail)


def field(name: str, most: int) -> str:
    """Return what the form says under *name*.

    Raises:
        RequestRefusedError: it says nothing, or more than *most* characters, or what no database
            takes.
    """
    value = request.form.get(name, "").strip()
    if not 1 <= len(value) <= most or "\0" in value:
        detail = f"send a form whose field `{name}` has 1 to {most} characters"
        raise refusal(422, f"bad_{name}", detail)
    return value
