"""Refusals that Flask would answer itself, by whichever of its ways."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from a2wsgi import WSGIMiddleware
from flask import Flask, Response

from tonnage import Problem, RequestRefusedError, Tonnage, TonnageWSGI

TEAPOT = Problem(418, "teapot", "no coffee: ask for tea", headers=((b"retry-after", b"7"),))


def make_app() -> Flask:
    """Return an application that refuses, fails and answers."""
    app = Flask("refusing")

    @app.get("/refuse")
    def refuse() -> str:
        raise RequestRefusedError(TEAPOT)

    @app.get("/wrap")
    def wrap() -> str:
        try:
            raise RequestRefusedError(TEAPOT)
        except RequestRefusedError as error:
            raise LookupError("in other words") from error

    @app.get("/stream")
    def stream() -> Response:
        def lines() -> Any:
            yield from ()
            raise RequestRefusedError(TEAPOT)

        return Response(lines())

    @app.get("/fail")
    def fail() -> str:
        raise LookupError("nothing here")

    return app


@pytest.fixture
def app() -> Flask:
    """Return the application within limits, as the documentation has it."""
    app = make_app()
    app.wsgi_app = TonnageWSGI(app.wsgi_app, max_body="1K")  # type: ignore[method-assign]
    return app


def is_teapot(answer: Any) -> bool:
    """Return whether *answer* is the problem, with all that belongs to it."""
    return (answer.status_code, answer.headers["retry-after"]) == (418, "7")


@pytest.mark.parametrize("path", ["/refuse", "/wrap", "/stream"])
@pytest.mark.parametrize("testing", [False, True])
def test_a_refusal_is_answered(app: Flask, path: str, testing: bool) -> None:
    """Also where Flask lets errors out, as it does in tests and while debugging."""
    app.testing = testing
    answer = app.test_client().get(path)
    assert is_teapot(answer)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.get_json(force=True)["detail"] == TEAPOT.detail


def test_an_own_page_for_500_does_not_hide_it(app: Flask) -> None:
    """But is shown for what is an error."""
    app.register_error_handler(500, lambda error: ("sorry", 500))
    client = app.test_client()
    assert is_teapot(client.get("/refuse"))
    failed = client.get("/fail")
    assert (failed.status_code, failed.data) == (500, b"sorry")


def test_an_own_handler_of_refusals_is_the_applications(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """It answers as it likes, and nothing is logged as an error."""

    @app.errorhandler(RequestRefusedError)
    def refused(error: RequestRefusedError) -> Response:
        answer = error.problem.answer()
        headers = [(name.decode(), value.decode()) for name, value in answer.all_headers()]
        return Response(answer.body, answer.status, headers)

    assert is_teapot(app.test_client().get("/refuse"))
    assert caplog.records == []


@pytest.mark.parametrize("path", ["/refuse", "/wrap"])
def test_the_log_has_one_short_line_for_it(
    app: Flask, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Whoever sends much that is refused does not fill the log."""
    app.test_client().get(path)
    [record] = caplog.records
    assert (record.levelname, record.exc_info, record.exc_text) == ("WARNING", None, None)
    assert record.getMessage() == (
        f"refused with 418 teapot: no coffee: ask for tea (Exception on {path} [GET])"
    )
    app.test_client().get("/fail")
    assert caplog.records[1].levelname == "ERROR"
    assert caplog.records[1].exc_info is not None


def test_what_the_server_cannot_do_is_logged_once_too(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """A path does not write lines of its own."""

    @app.before_request
    def short() -> None:
        raise RequestRefusedError(Problem(503, "memory_short", "there is none"))

    assert app.test_client().get("/a%0AERROR%20b").status_code == 503
    [record] = caplog.records
    assert record.getMessage() == (
        r"refused with 503 memory_short: there is none"
        r" ('Exception on /a\nERROR b [GET]')"
    )


async def test_over_asgi_too() -> None:
    """Where a server runs it by way of ASGI, the limits around that see what it meant."""
    outer = Tonnage(WSGIMiddleware(make_app()), max_body="1K")  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app=outer)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        assert is_teapot(await client.get("/refuse"))
        assert (await client.get("/fail")).status_code == 500
