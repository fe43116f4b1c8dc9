"""Pages in FastAPI, whose parameters and responses they fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import flask
import httpx
import pytest
from fastapi import Depends, FastAPI, Request, Response
from flask import Flask, request
from sqlalchemy import Connection, create_engine, insert
from sqlalchemy.pool import StaticPool
from tests.db.paging_lists import THINGS

from tonnage import RequestRefusedError, Tonnage, TonnageWSGI, db
from tonnage.db.paging import PageQuery


@pytest.fixture
def connection() -> Iterator[Connection]:
    """Yield a connection to seven things."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        THINGS.create(connection)
        connection.execute(insert(THINGS), [{"id": n, "b": n} for n in range(1, 8)])
        yield connection
    engine.dispose()


@pytest.fixture
def app(connection: Connection) -> FastAPI:
    """Return an application with a list."""
    app = FastAPI()

    @app.get("/things")
    async def things(
        query: Annotated[PageQuery, Depends()], request: Request, response: Response
    ) -> dict[str, Any]:
        page = db.page(connection, db.only(THINGS, "id").order_by(THINGS.c.id), query, max_size=3)
        response.headers["Link"] = page.links(str(request.url))
        return page.body()

    return app


async def test_a_client_goes_through_a_list(app: FastAPI) -> None:
    """By the cursors of the body, or by the links of the header."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        first = (await client.get("/things?size=50")).json()
        assert first == {"items": [1, 2, 3], "next": first["next"], "previous": None}
        second = await client.get("/things", params={"size": 2, "after": first["next"]})
        assert second.json()["items"] == [4, 5]
        third = await client.get(second.links["next"]["url"])
        assert third.json()["items"] == [6, 7]
        back = await client.get(third.links["prev"]["url"])
        assert back.json() == second.json()
        assert (await client.get("/things?size=many")).status_code == 422


def test_parameters_are_described(app: FastAPI) -> None:
    """As those of any other route."""
    parameters = app.openapi()["paths"]["/things"]["get"]["parameters"]
    assert [each["name"] for each in parameters] == ["size", "after", "before"]
    assert parameters[0]["schema"]["default"] == 20


async def test_what_cannot_be_had_is_a_refusal(app: FastAPI) -> None:
    """With 400 and what to do, where Tonnage is around the application."""
    app.add_middleware(Tonnage)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        refused = await client.get("/things?after=nonsense")
        assert (refused.status_code, refused.json()["error"]) == (400, "bad_cursor")
        assert "leave it out" in refused.json()["detail"]
        empty = await client.get("/things?size=0")
        assert (empty.status_code, empty.json()["error"]) == (400, "bad_page")
        assert empty.json()["parameter"] == "size"


async def test_a_handler_answers_it_too(app: FastAPI) -> None:
    """Where nothing of Tonnage is around the application."""

    @app.exception_handler(RequestRefusedError)
    async def refused(request: Request, error: RequestRefusedError) -> Response:
        answer = error.problem.answer()
        headers = {name.decode(): value.decode() for name, value in answer.all_headers()}
        return Response(answer.body, answer.status, headers)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        got = await client.get("/things?after=nonsense")
    assert (got.status_code, got.json()["error"]) == (400, "bad_cursor")
    assert got.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("has_handler", [True, False])
def test_a_handler_in_flask_keeps_it_out_of_the_log(
    connection: Connection, caplog: pytest.LogCaptureFixture, has_handler: bool
) -> None:
    """Flask logs an error that it knows no answer to, whoever answers it then."""
    app = Flask(__name__)

    @app.get("/things")
    def things() -> dict[str, Any]:
        query = PageQuery(request.args.get("size", 20, int), request.args.get("after"))
        return db.page(connection, db.only(THINGS, "id"), query).body()

    def refused(error: RequestRefusedError) -> flask.Response:
        answer = error.problem.answer()
        headers = [(name.decode(), value.decode()) for name, value in answer.all_headers()]
        return flask.Response(answer.body, answer.status, headers)

    if has_handler:
        app.register_error_handler(RequestRefusedError, refused)
    app.wsgi_app = TonnageWSGI(app.wsgi_app)  # type: ignore[method-assign]
    got = app.test_client().get("/things?after=nonsense")
    assert (got.status_code, got.get_json()["error"]) == (400, "bad_cursor")
    logged = [record for record in caplog.records if record.name == app.logger.name]
    assert bool(logged) is not has_handler
    assert not any(record.exc_info for record in logged), "a refusal is no fault of the code"
