"""Flask, with the limits around its WSGI application."""

from __future__ import annotations

from flask import Flask, Response, request
from tests.frameworks.path_sites.limits import LARGE, LIMITS, TEXT, pieces, uploads

from tonnage import TonnageWSGI

app = Flask(__name__)
app.wsgi_app = TonnageWSGI(app.wsgi_app, **LIMITS)  # type: ignore[method-assign]


@app.get("/limited")
def limited() -> str:
    """Be limited in rate."""
    return "ok"


@app.post("/echo")
def echo() -> str:
    """Count a body."""
    return str(len(request.get_data()))


@app.post("/json")
def json() -> str:
    """Have Flask read the body."""
    return str(len(request.get_json()))


@app.post("/upload")
def upload() -> str:
    """Take a file."""
    with uploads.receive_wsgi(request.environ) as files:
        return files["photo"].type


@app.get("/text")
def text() -> Response:
    """Say what gains by compression."""
    return Response(TEXT, mimetype="text/plain", headers={"X-Powered-By": "tea"})


@app.get("/large")
def large() -> str:
    """Say too much at once."""
    return LARGE


@app.get("/pieces")
@app.get("/events")
def endless() -> Response:
    """Say too much in the end."""
    return Response(pieces(), mimetype="application/octet-stream")
