"""Starlette, behind its own middleware."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.frameworks.asking import names_after_words
from tests.support.server import Running
from tests.support.waiting import await_true

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Yield the application with one worker; the block's end asserts a clean stop."""
    with Running("tests.frameworks.starlette_app:app", "--workers", "1") as running:
        yield running


def test_middleware_stamps_what_the_route_answers(server: Running) -> None:
    """``BaseHTTPMiddleware`` runs the route in a task of its own, which is metered too."""
    answer = server.get("/?name=you")

    assert answer.body == b"hello you"
    assert answer.headers["x-stamp"] == "GET"


def test_a_body_is_streamed_through(server: Running) -> None:
    """Past gate and middleware."""
    answer = server.request("POST", "/body", b"x" * 1_000_000)

    assert answer.json() == {"bytes": 1_000_000}


def test_work_in_a_thread_is_answered(server: Running) -> None:
    """``run_in_threadpool`` is how Starlette calls what blocks."""
    assert server.get("/hold?mb=4&ms=5").json() == {"mb": 4}


def test_a_failure_is_one_answer_and_the_worker_goes_on(server: Running) -> None:
    """The traceback is in the log."""
    assert server.get("/fail").status == 500
    await_true(lambda: "LookupError: nothing here" in server.log, "the traceback in the log")
    assert server.get("/").status == 200


def test_the_applications_own_404_is_passed_on(server: Running) -> None:
    """The gate has no routes of its own but health's."""
    assert server.get("/nowhere").headers["x-stamp"] == "GET"
    assert server.get("/nowhere").status == 404


def test_a_route_has_the_name_that_it_is_written_with(server: Running) -> None:
    """Below a mount too, whatever word stands in the path."""
    assert names_after_words(server, "/blog/posts") == {"GET /blog/posts/{slug}"}
