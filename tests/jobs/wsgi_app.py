"""A WSGI application whose requests wait for jobs in their threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.jobs import functions

from tonnage import isolated


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with what jobs return."""
    found = [isolated.wait(functions.add, 1), *functions.count.iterate(2)]
    start_response("200 OK", [("content-type", "text/plain")])
    return [repr(found).encode()]
