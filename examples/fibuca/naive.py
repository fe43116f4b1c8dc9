"""Fibuca as it was before: plain Flask, gunicorn and rembg, on a database that has its tables.

    tonnage db migrate fibuca/migrations      # its tables are those of Fibuca
    FIBUCA_OFFICE_KEY=... gunicorn naive:app --workers 4      # M3: two for each core, as is usual

The same routes and the same answers; the tables, the page, the drawing of cards and how moments are
written are shared. It works, on a machine with enough memory. ``make before-after`` runs both under
the same load. A comment at each deficiency names the row of ``docs/requirements.md`` whose original
had it; limits that are simply not there (M1, R1, R6, R7) have no line to comment. Nothing here is
to be copied.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

from fibuca import cards
from fibuca.moments import Json
from fibuca.tables import Application, Member, Photo
from flask import Flask, Response, render_template, request, send_file
from PIL import Image, ImageOps
from sqlalchemy import create_engine, delete, select
from sqlalchemy.orm import Session, undefer
from werkzeug.exceptions import HTTPException

DATA = Path(os.environ.get("FIBUCA_DATA", "data")).resolve()
OFFICE_KEY = os.environ.get("FIBUCA_OFFICE_KEY", "")
DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite:///data/fibuca.sqlite3")
MOST_BYTES = 2 * 1024 * 1024
PORTRAIT = (413, 531)

# rembg would fetch its model; this is where `tonnage models install` has put it.
os.environ.setdefault("U2NET_HOME", str(Path.home() / ".local/share/tonnage/models"))

for name in ("photos", "jobs"):
    (DATA / name).mkdir(parents=True, exist_ok=True)

app = Flask(__name__, template_folder="fibuca/templates")
app.json = Json(app)
# D1: up to 15 connections for each worker, however many the database has.
engine = create_engine(DATABASE_URL.replace("postgresql:", "postgresql+psycopg:"))


class RefusedError(Exception):
    """The request cannot be answered as it is."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail = status, error, detail


@app.errorhandler(RefusedError)
def answer_refusal(error: RefusedError) -> Response:
    """Answer what is refused here."""
    return problem(error.status, error.error, error.detail)


# R8: when memory runs out there is no answer at all; the kernel ends the worker.
@app.errorhandler(HTTPException)
def answer_error(error: HTTPException) -> Response:
    """Answer what Flask refuses, and what went wrong."""
    word = error.name.lower().replace(" ", "_")
    return problem(error.code or 500, word, error.description or error.name)


def problem(status: int, error: str, detail: str) -> Response:
    """Return the one shape of all errors."""
    told = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "error": error,
        "detail": detail,
    }
    return Response(json.dumps(told), status, content_type="application/problem+json")


@app.get("/")
def page() -> str:
    """Return the page."""
    return render_template("page.html")


@app.get("/health")
def health() -> dict[str, str]:
    """Say that the process is there."""
    return {"status": "OK"}  # W6: whatever the memory is like.


@app.post("/members")
def join() -> tuple[dict[str, Any], int]:
    """Make a member of whoever has a name."""
    name, key = field("name", 100), secrets.token_urlsafe(24)
    with Session(engine) as session:
        member = Member(name=name, key_hash=hash_of(key))
        session.add(member)
        session.commit()
        return {"number": member.number, "name": name, "key": key}, 201


@app.get("/me")
def show() -> dict[str, Any]:
    """Return the member whose key is sent."""
    with Session(engine) as session:
        member = current_member(session)
        photo = session.get(Photo, member.number)
        kind = photo.type if photo else None
        return {"number": member.number, "name": member.name, "photo": kind}


@app.delete("/me")
def leave() -> tuple[str, int]:
    """Forget the member, with all that there is of him or her."""
    with Session(engine) as session:
        number = current_member(session).number
        for table in (Application, Photo, Member):
            session.execute(delete(table).where(table.number == number))
        session.commit()
    portrait_of(number).unlink(missing_ok=True)
    return "", 204


@app.post("/me/photo")
def send_photo() -> tuple[dict[str, Any], int]:
    """Take a photo, and answer when its portrait is there."""
    with Session(engine) as session:
        number = current_member(session).number
        content = sent_photo()
        # I4: as many at once as there are workers, each of which serves nobody else meanwhile,
        # and holds its connection (D1).
        try:
            picture = cut_out(content)
        except OSError:
            raise RefusedError(422, "picture_damaged", "the picture is cut off") from None
        portrait_of(number).write_bytes(picture)
        session.merge(Photo(number=number, type="image/jpeg", size_bytes=len(picture)))
        session.commit()
    width, height = PORTRAIT
    made = {"type": "image/jpeg", "width": width, "height": height, "bytes": len(picture)}
    job = {"id": secrets.token_urlsafe(16), "status": "done", "picture": made}
    save_job(job, number)
    return job, 202


@app.get("/me/photo/jobs/<id>")
def show_job(id: str) -> dict[str, Any]:
    """Return what became of a photo."""
    return current_member_job(id)[0]


@app.delete("/me/photo/jobs/<id>")
def cancel_job(id: str) -> tuple[str, int]:
    """Forget what became of a photo."""
    _, number = current_member_job(id)
    save_job({"id": id, "status": "expired"}, number)
    return "", 204


@app.get("/me/photo")
def show_photo() -> Response:
    """Return the member's portrait."""
    with Session(engine) as session:
        member = member_with_photo(session)
    return send_file(portrait_of(member.number), mimetype="image/jpeg")


@app.get("/me/card.<any(png, pdf):kind>")
def show_card(kind: str) -> Response:
    """Return the member's card."""
    with Session(engine) as session:
        member = member_with_photo(session)
        card = cards.card_of(member, portrait_of(member.number), kind)
    return Response(card, content_type=cards.TYPES[kind])


@app.post("/me/applications")
def send_application() -> tuple[dict[str, Any], int]:
    """Keep a form that asks for a membership."""
    with Session(engine) as session:
        member = current_member(session)
        kind, statement = field("kind", 20), field("statement", 4000)
        if kind not in ("single", "family", "youth"):
            raise RefusedError(422, "bad_kind", "the field `kind` is one of single, family, youth")
        application = Application(number=member.number, kind=kind, statement=statement)
        session.add(application)
        session.commit()
        return {"id": application.id, "kind": kind}, 201


@app.get("/me/applications")
def show_applications() -> dict[str, Any]:
    """Return the member's forms, 20 at a time."""
    with Session(engine) as session:
        number = current_member(session).number
        found = all_applications(session, Application.number == number)
        return page_of([described(each) for each, _ in found])


@app.get("/office/applications")
def show_all_applications() -> dict[str, Any]:
    """Return everybody's forms to the office."""
    must_be_the_office()
    with Session(engine) as session:
        found = all_applications(session)
        return page_of(
            [
                described(application) | {"number": member.number, "name": member.name}
                for application, member in found
            ]
        )


@app.get("/office/applications/<int(max=2147483647):id>")
def show_application(id: int) -> dict[str, Any]:
    """Return one form to the office, with its statement."""
    must_be_the_office()
    with Session(engine) as session:
        found = all_applications(session, Application.id == id)
        if not found:
            raise RefusedError(404, "no_such_application", "there is no such application")
        application, member = found[0]
        return described(application) | {
            "number": member.number,
            "name": member.name,
            "statement": application.statement,
        }


def all_applications(session: Session, *where: Any) -> list[tuple[Application, Member]]:
    """Return the forms, newest first, with those who sent them."""
    # D2: all rows and all columns, statements of 2,400 characters too; 20 of them are shown.
    query = (
        select(Application, Member)
        .join(Member, Member.number == Application.number)
        .options(undefer(Application.statement))
        .where(*where)
        .order_by(Application.id.desc())
    )
    return [(application, member) for application, member in session.execute(query).all()]


def page_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the 20 that were asked for, and where the next begin."""
    try:
        after = int(request.args.get("after", 2**31))
    except ValueError:
        raise RefusedError(400, "bad_cursor", "`after` is what a page said as `next`") from None
    rest = [each for each in found if each["id"] < after]
    return {"applications": rest[:20], "next": str(rest[19]["id"]) if len(rest) > 20 else None}


def described(application: Application) -> dict[str, Any]:
    """Return what a list shows of a form."""
    return {"id": application.id, "kind": application.kind, "sent_at": application.sent_at}


def sent_photo() -> bytes:
    """Return the photo, from the form's field or as the body itself."""
    if request.mimetype == "multipart/form-data":
        file = request.files.get("photo")
        if file is None:
            raise RefusedError(400, "missing_part", "send the photo in the field `photo`")
        # R9: read whole, and only then measured. What it is, its sender says.
        content: bytes = file.read()
        kind = file.mimetype
    else:
        content, kind = request.get_data(), request.mimetype
    if kind not in ("image/jpeg", "image/png"):
        raise RefusedError(415, "unsupported_media_type", "send a JPEG or a PNG")
    if len(content) > MOST_BYTES:
        raise RefusedError(413, "payload_too_large", "a photo has 2 MB at most")
    return content


def cut_out(photo: bytes) -> bytes:
    """Return the portrait before white, as a JPEG."""
    try:
        picture = Image.open(BytesIO(photo))
    except OSError:
        raise RefusedError(415, "unsupported_media_type", "send a JPEG or a PNG") from None
    from rembg import remove  # takes seconds, so not before there is a photo

    # I2: 12 megapixels as they are, in several copies, for a portrait of 413 x 531.
    cut = remove(picture, session=model(), bgcolor=(255, 255, 255, 255))
    portrait = ImageOps.fit(cut.convert("RGB"), PORTRAIT)
    written = BytesIO()
    portrait.save(written, "JPEG", quality=95)
    return written.getvalue()


@lru_cache
def model() -> Any:
    """Return the model, loaded."""
    from rembg import new_session

    # I1, I3: in each worker, with ONNX Runtime's own settings, and never given back.
    return new_session("u2netp")


def save_job(job: dict[str, Any], number: int) -> None:
    """Keep what became of a photo where other workers find it; nobody ever takes it away."""
    (DATA / "jobs" / f"{job['id']}.json").write_text(json.dumps([job, number]))


def current_member_job(id: str) -> tuple[dict[str, Any], int]:
    """Return what became of a photo of whoever asks, and whose it is."""
    with Session(engine) as session:
        member = current_member(session)
    try:
        job, number = json.loads((DATA / "jobs" / f"{id}.json").read_text())
    except FileNotFoundError:
        number = None
    if number != member.number:
        raise RefusedError(404, "no_such_job", "there is no such job of yours, or not any more")
    return job, number


def portrait_of(number: int) -> Path:
    """Return where a portrait is."""
    return DATA / "photos" / f"{number}.jpg"


def hash_of(key: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


def current_member(session: Session) -> Member:
    """Return who sent the request."""
    key = request.headers.get("X-Member-Key", "")
    member = session.scalar(select(Member).where(Member.key_hash == hash_of(key)))
    if member is None:
        raise RefusedError(401, "unknown_member", "send the key that you got from POST /members")
    return member


def member_with_photo(session: Session) -> Member:
    """Return who sent the request, and has a photo."""
    member = current_member(session)
    if session.get(Photo, member.number) is None:
        raise RefusedError(404, "no_photo", "there is no photo of yours yet: send one with POST")
    return member


def must_be_the_office() -> None:
    """Let only the office pass."""
    if not OFFICE_KEY or request.headers.get("X-Office-Key") != OFFICE_KEY:
        raise RefusedError(401, "not_the_office", "send the key that FIBUCA_OFFICE_KEY has")


def field(name: str, most: int) -> str:
    """Return what the form says under *name*."""
    value = request.form.get(name, "").strip()
    if not 1 <= len(value) <= most or "\0" in value:
        detail = f"send a form whose field `{name}` has 1 to {most} characters"
        raise RefusedError(422, f"bad_{name}", detail)
    return value
