"""Fibuca: members join, apply, and send the photo for their card. Flask, with an upload form.

The limits that every request meets are in ``pyproject.toml``. Here is what only the application can
say: that a photo may have 2 MB and must be one by its content, that one comes in at a time, and who
may ask for what. Nothing is done with the photos yet; they are kept as they came.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flask import Flask, Response, render_template, request, send_file

from fibuca import members, refusals
from fibuca.refusals import refusal
from tonnage import Uploads

DATA = Path(os.environ.get("FIBUCA_DATA", "data"))
PHOTOS = (DATA / "photos").resolve()
PHOTOS.mkdir(parents=True, exist_ok=True)

KINDS = ("single", "family", "youth")

app = Flask(__name__)
refusals.register(app)
uploads = Uploads(
    max_bytes="2M",
    types=["image/jpeg", "image/png"],
    concurrent=1,
    # Who waits for a turn holds one of 16 threads: half of them are for all else.
    waiting=8,
    max_files=1,
    # Where photos stay: so a photo that is taken gets a name, and is not copied.
    directory=PHOTOS,
)


@app.get("/")
def form() -> str:
    """Return the page to join and to send a photo with."""
    return render_template("form.html")


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
    (PHOTOS / str(number)).unlink(missing_ok=True)
    return "", 204


@app.post("/me/photo")
def send_photo() -> tuple[dict[str, Any], int]:
    """Keep a photo, from the form's field or as the body itself, in place of the last one."""
    number = current_member().number
    with uploads.receive_wsgi(request.environ) as files:
        photo = files.only
        photo.move_to(PHOTOS, str(number), overwrite=True)
        members.note_photo(number, photo.type, photo.size_bytes)
        return {"type": photo.type, "bytes": photo.size_bytes}, 201


@app.get("/me/photo")
def show_photo() -> Response:
    """Return the member's photo."""
    member = current_member()
    if member.photo_type is None:
        raise refusal(404, "no_photo", "there is no photo of yours yet: send one with POST")
    return send_file(PHOTOS / str(member.number), mimetype=member.photo_type)


@app.post("/me/applications")
def send_application() -> tuple[dict[str, Any], int]:
    """Keep a form that asks for a membership."""
    number = current_member().number
    kind, statement = field("kind", 20), field("statement", 4000)
    if kind not in KINDS:
        raise refusal(422, "bad_kind", f"the field `kind` is one of {', '.join(KINDS)}")
    return {"id": members.apply(number, kind, statement), "kind": kind}, 201


@app.get("/me/applications")
def show_applications() -> dict[str, Any]:
    """Return the member's forms, newest first, 20 at a time and without their statements."""
    found, following = members.applications(current_member().number, request.args.get("after"))
    return {"applications": found, "next": following}


def current_member() -> members.Known:
    """Return who sent the request.

    Raises:
        RequestRefusedError: the key is nobody's.
    """
    return members.who_has(request.headers.get("X-Member-Key", ""))


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
