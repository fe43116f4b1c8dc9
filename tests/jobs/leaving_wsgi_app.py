"""The same in Flask: a job that takes longer than its client waits."""

from __future__ import annotations

from flask import Flask, request
from tests.jobs import functions

from tonnage import isolated

app = Flask(__name__)


@app.get("/threaded")
def threaded() -> str:
    """Wait for a job in a thread."""
    found: str = isolated.wait(functions.note_and_sleep, request.args["path"], 60.0)
    return found
