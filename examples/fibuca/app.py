"""Fibuca: members join and send the photo for their card. Flask, with an upload form.

The limits that every request meets are in ``pyproject.toml`` beside it. Here is what only the
application can say: that a photo may have 2 MB and must be one by its content, that one comes in at
a time, who a member is, and that whatever is refused is answered as one kind of JSON. Nothing is
done with the photos yet; they are kept as they came.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from flask import Flask, Response, render_template, request, send_file
from werkzeug.exceptions import HTTPException

from tonnage import Problem, RequestRefusedError, Uploads

DATA = Path(os.environ.get("FIBUCA_DATA", Path(__file__).with_name("data")))
PHOTOS = DATA / "photos"
DATABASE = DATA / "fibuca.sqlite3"

SCHEMA = """
CREATE TABLE IF NOT EXISTS members (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    key_hash BLOB NOT NULL UNIQUE,
    photo_type TEXT -- none: no photo yet
)
"""

PHOTOS.mkdir(parents=True, exist_ok=True)

app = Flask(__name__)
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


def connect() -> closing[sqlite3.Connection]:
    """Return a connection to the database, to be closed by the caller."""
    connection = sqlite3.connect(DATABASE, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return closing(connection)


with connect() as database:
    database.execute(SCHEMA)


@app.get("/")
def form() -> str:
    """Return the page to join and to send a photo with."""
    return render_template("form.html")


@app.post("/members")
def join() -> tuple[dict[str, Any], int]:
    """Make a member of whoever has a name; the key is shown this once."""
    name = request.form.get("name", "").strip()
    if not 1 <= len(name) <= 100:
        raise refusal(422, "bad_name", "send a form whose field `name` has 1 to 100 characters")
    key = secrets.token_urlsafe(24)
    with connect() as database:
        made = database.execute(
            "INSERT INTO members (name, key_hash) VALUES (?, ?)", (name, hash_of(key))
        )
    return {"number": made.lastrowid, "name": name, "key": key}, 201


@app.get("/me")
def show() -> dict[str, Any]:
    """Return the member whose key is sent."""
    member = current_member()
    return {"number": member["number"], "name": member["name"], "photo": member["photo_type"]}


@app.post("/me/photo")
def send_photo() -> tuple[dict[str, Any], int]:
    """Keep a photo, from the form's field or as the body itself, in place of the last one."""
    member = current_member()
    with uploads.receive_wsgi(request.environ) as files:
        photo = files.only
        photo.move_to(PHOTOS, str(member["number"]), overwrite=True)
        with connect() as database:
            values = photo.type, member["number"]
            database.execute("UPDATE members SET photo_type = ? WHERE number = ?", values)
        return {"type": photo.type, "bytes": photo.size_bytes}, 201


@app.get("/me/photo")
def show_photo() -> Response:
    """Return the member's photo."""
    member = current_member()
    if member["photo_type"] is None:
        raise refusal(404, "no_photo", "there is no photo of yours yet: send one with POST")
    return send_file(PHOTOS / str(member["number"]), mimetype=member["photo_type"])


def current_member() -> sqlite3.Row:
    """Return who sent the request.

    Raises:
        RequestRefusedError: the key is nobody's.
    """
    key = request.headers.get("X-Member-Key", "")
    with connect() as database:
        query = "SELECT number, name, photo_type FROM members WHERE key_hash = ?"
        member: sqlite3.Row | None = database.execute(query, (hash_of(key),)).fetchone()
    if member is None:
        raise refusal(401, "unknown_member", "send the key that you got from POST /members")
    return member


def hash_of(key: str) -> bytes:
    """Return what is kept of a key: with so many random bytes, a plain hash is enough."""
    return hashlib.sha256(key.encode()).digest()


def refusal(status: int, error: str, detail: str) -> RequestRefusedError:
    """Return the error that has a request answered with *status*, and what to do about it."""
    headers = ((b"www-authenticate", b"X-Member-Key"),) if status == 401 else ()
    return RequestRefusedError(Problem(status, error, detail, headers=headers))


@app.errorhandler(RequestRefusedError)
def answer_refusal(error: RequestRefusedError) -> Response:
    """Answer what this module, or the uploads, refuse."""
    return response_to(error.problem)


@app.errorhandler(HTTPException)
def answer_error(error: HTTPException) -> Response:
    """Answer what Flask refuses, and what went wrong, in the same shape as all that is refused."""
    word = error.name.lower().replace(" ", "_")
    response = response_to(Problem(error.code or 500, word, error.description or error.name))
    # Flask's own headers, such as Allow; not those of the page that this takes the place of.
    for name, value in error.get_headers():
        if name not in response.headers:
            response.headers[name] = value
    return response


def response_to(problem: Problem) -> Response:
    """Return *problem* as Flask answers it."""
    answer = problem.answer()
    response = Response(answer.body, answer.status, content_type=answer.content_type.decode())
    for name, value in answer.headers:
        response.headers[name.decode()] = value.decode()
    return response
