"""LvlUp and its naive twin: the same routes, the same answers, on databases of the same content.

What only one of them has, its limits and what it keeps, is in ``test_lvlup.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.examples.databases import count, migrate
from tests.examples.naive import ask, naive
from tests.support.disk import on_a_disk
from tests.support.postgres import postgres_urls
from tests.support.server import (
    ROOT,
    Response,
    Running,
)
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

HERE = ROOT / "examples" / "lvlup"
ANN = {"player": "ann"}
MOVE = {"player": "ann", "name": "move", "properties": {"round": 1, "is_rated": True}}
MATE = {"player": "bob", "name": "mate"}
PURCHASE = {"player": "ann", "product": "hat", "cents": 199, "currency": "EUR"}

# What games send: path, body, and the status of the answer.
SENT: tuple[tuple[str, Any, int], ...] = (
    ("/games/tag/events", [MOVE, MATE], 202),
    ("/games/tag/events", [MOVE], 202),
    ("/games/tag/events", [], 202),
    ("/games/tag/events", {}, 422),
    ("/games/tag/events", [{"player": "", "name": "move"}], 422),
    ("/games/tag/events", [MOVE] * 101, 422),
    ("/games/no%20game/events", [MOVE], 422),
    ("/games/tag/revenue", {"purchase": "shop-0001", **PURCHASE}, 202),
    ("/games/tag/revenue", {"purchase": "shop-0001", **PURCHASE}, 202),
    ("/games/tag/revenue", {"purchase": "shop-0002", **PURCHASE, "currency": "USD"}, 202),
    ("/games/tag/revenue", {"purchase": "short", **PURCHASE}, 422),
    ("/games/tag/revenue", {"purchase": "shop-0003", **PURCHASE, "cents": 0}, 422),
    ("/games/tag/sessions/session-1/beat", ANN, 202),
    ("/games/tag/sessions/session-1/beat", ANN, 202),
    ("/games/tag/sessions/short/beat", ANN, 422),
    ("/games/tag/sessions/session-1/beat", {}, 422),
    ("/games/tag/days/2026-03-02", {}, 405),
    ("/games/tag/points", {}, 404),
)
TABLES = {"events": 3, "revenue": 2, "sessions": 1}

# What is asked about the made data: path, and the status of the answer.
ASKED = (
    *((f"/games/{game}/days/2026-03-{day:02}", 200) for game in ("chess", "go") for day in (2, 8)),
    ("/games/chess/days/2026-03-01", 200),
    ("/games/nobody-s/days/2026-03-02", 200),
    ("/games/chess/days/1999-12-31", 422),
    ("/games/chess/days/someday", 422),
    ("/games/go/revenue", 200),
    ("/games/go/revenue?limit=100", 200),
    ("/games/go/revenue?limit=101", 422),
    ("/games/nobody-s/revenue", 200),
)


@dataclass(frozen=True)
class Pair:
    """Where both are, and their databases."""

    urls: tuple[str, str]
    databases: tuple[str, str]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[Response, Response]:
        """Return how both answer."""
        ours, naive = (ask(url, method, path, body) for url in self.urls)
        return ours, naive


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Yield both servers, each with a database of its own."""
    with ExitStack() as stack:
        make = stack.enter_context(postgres_urls())
        data = stack.enter_context(on_a_disk(tmp_path_factory.mktemp("lvlup")))
        databases = make(), make()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda url: migrate("lvlup", {"DATABASE_URL": url}), databases))
        env = {"DATABASE_URL": databases[0], "LVLUP_DATA": str(data / "ours")}
        ours = stack.enter_context(Running(cwd=HERE, env=env)).url
        env = {"DATABASE_URL": databases[1], "LVLUP_DATA": str(data / "naive")}
        theirs = stack.enter_context(naive("lvlup", env, data / "log"))
        yield Pair((ours, theirs), databases)


def test_what_games_send_is_answered_and_counted_alike(pair: Pair) -> None:
    """Answers at once, and what is stored of it in the end."""
    before = [{table: count(url, table) for table in TABLES} for url in pair.databases]
    for path, body, status in SENT:
        ours, naive = pair.ask("POST", path, body)
        assert (path, ours.status, naive.status) == (path, status, status)
        assert ours.json() == naive.json(), path

    for url, those in zip(pair.databases, before, strict=True):
        for table, rows in TABLES.items():
            await_rows(url, table, those[table] + rows)
    day = f"/games/tag/days/{datetime.now(UTC):%Y-%m-%d}"
    ours, naive = pair.ask("GET", day)
    assert ours.json() == naive.json()
    assert ours.json()["events"] == {"move": 2, "mate": 1}

    lists = [answer.json()["purchases"] for answer in pair.ask("GET", "/games/tag/revenue")]
    ours_paid, naive_paid = ([each | {"at": ""} for each in found] for found in lists)
    assert ours_paid == naive_paid
    assert len(ours_paid) == 2


def await_rows(url: str, table: str, rows: int) -> None:
    """Wait until a table has so many."""
    await_true(lambda: count(url, table) == rows, f"{table} to be stored", 20)


@pytest.mark.parametrize(("path", "status"), ASKED)
def test_what_is_asked_is_answered_alike(pair: Pair, path: str, status: int) -> None:
    """Statuses, and all that is said; but each tells in its own way where a list goes on."""
    ours, naive = pair.ask("GET", path)
    assert (ours.status, naive.status) == (status, status)
    assert told(ours) == told(naive)


def told(answer: Response) -> dict[str, Any]:
    """Return what an answer says."""
    found: dict[str, Any] = answer.json()
    return found | {"next": bool(found["next"])} if "next" in found else found


def test_pages_follow_each_other(pair: Pair) -> None:
    """Each by its own cursor, down to the first purchase."""
    ours, naive = ([*pages(url)] for url in pair.urls)
    assert ours == naive
    assert [len(page) for page in ours] == [50, 50, 26]
    assert ours[-1][-1] == "made-chess-0000"


def pages(url: str) -> Iterator[list[str]]:
    """Yield the purchases on each page of a list."""
    place: str | None = ""
    while place is not None:
        page = ask(url, "GET", f"/games/chess/revenue?limit=50{place}").json()
        yield [each["purchase"] for each in page["purchases"]]
        place = page["next"] and f"&after={page['next']}"


def test_both_tell_how_they_are(pair: Pair) -> None:
    """With the same keys."""
    ours, naive = (answer.json() for answer in pair.ask("GET", "/api/metrics"))
    assert keys(ours) == keys(naive)
    for answer in pair.ask("GET", "/health"):
        assert answer.status == 200
        assert {"status", "timestamp", "uptime"} <= answer.json().keys()
        assert answer.json()["status"] == "OK"


def keys(content: Any) -> Any:
    """Return JSON with all values taken out."""
    if isinstance(content, dict):
        return {key: keys(value) for key, value in content.items()}
    return [keys(each) for each in content] if isinstance(content, list) else ...


def test_it_has_each_route_of_ours(pair: Pair) -> None:
    """Those that Tonnage answers are routes of the twin's own."""
    ours, naive = (
        {(method, path) for path, methods in answer.json()["paths"].items() for method in methods}
        for answer in pair.ask("GET", "/openapi.json")
    )
    assert naive - ours == {("get", "/health"), ("get", "/api/metrics")}
    assert ours < naive
