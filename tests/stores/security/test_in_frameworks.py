"""Requests of frameworks as they are: who they come from, and what a refusal becomes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.web.path.talk import ask

from tonnage import SecurityMonitor, SecurityRule, Tonnage, TonnageWSGI

CLIENT = "203.0.113.7"


@pytest.fixture
def monitor() -> SecurityMonitor:
    """Return a monitor that blocks at the second failure."""
    rule = SecurityRule("login_failed", failures=2, within="15m", block="15m")
    return SecurityMonitor(rules=[rule])


def noted(monitor: SecurityMonitor) -> list[str]:
    """Return whose failures were noted."""
    return [event.client for event in monitor.events(kind="login_failed")]


@pytest.mark.parametrize("kind", ["starlette", "fastapi"])
def test_asgi(monitor: SecurityMonitor, kind: str) -> None:
    """The address of the scope, which believed proxies have set."""
    applications: Any = pytest.importorskip(f"{kind}.applications")
    responses: Any = pytest.importorskip("starlette.responses")

    async def login(request: Any) -> Any:
        monitor.check(request)
        monitor.attempt(request, succeeded=False)
        return responses.PlainTextResponse("no", 401)

    app = applications.Starlette() if kind == "starlette" else applications.FastAPI()
    app.router.add_route("/login", login)
    limited = Tonnage(app, proxy_hops=1)
    headers = {"x-forwarded-for": f"192.0.2.99, {CLIENT}"}
    statuses = [ask(limited, "GET /login", headers).status for _ in range(3)]

    assert statuses == [401, 401, 429]
    assert noted(monitor) == [CLIENT] * 2


def test_flask(monitor: SecurityMonitor) -> None:
    """The address of the environ."""
    flask: Any = pytest.importorskip("flask")
    app = flask.Flask("login")

    @app.post("/login")  # type: ignore[untyped-decorator]
    def login() -> tuple[str, int]:
        monitor.check(flask.request)
        monitor.attempt(flask.request, succeeded=False)
        return "no", 401

    app.wsgi_app = TonnageWSGI(app.wsgi_app, proxy_hops=1)
    client = app.test_client()
    headers = {"X-Forwarded-For": CLIENT}
    answers = [client.post("/login", headers=headers) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert answers[-1].headers["retry-after"] == "900"
    assert noted(monitor) == [CLIENT] * 2
