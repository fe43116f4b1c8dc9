"""Which route a request belongs to, and how the tables stay bounded."""

from __future__ import annotations

import functools
import itertools
import string
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from tests.web.world import call, costs_in, http

from tonnage.governor.costs import KNOWN_AFTER, RouteCost
from tonnage.governor.page import COST_NAME_BYTES, MAX_ROUTES, SharedPage
from tonnage.units import MIB
from tonnage.web.routes import MAX_PATHS, Routes, body_class, fold, hash_of


def learn(cost: RouteCost, mb: float, times: int = KNOWN_AFTER) -> None:
    """Observe requests of *mb*."""
    for _ in range(times):
        cost.observe(mb * MIB, 0.0, 0.1)


def invented_paths(count: int) -> list[str]:
    """Return paths that folding does not make one of."""
    letters = itertools.product(string.ascii_lowercase, repeat=4)
    return [f"/{''.join(name)}" for name in itertools.islice(letters, count)]


def seen_among(routes: Routes, paths: list[str]) -> int:
    """Return how many of *paths* are still known."""
    return sum(routes.seen(http(path)) is not None for path in paths)


@pytest.mark.parametrize(
    ("path", "folded"),
    [
        ("/", "/"),
        ("/users", "/users"),
        ("/users/42/posts", "/users/{}/posts"),
        ("/users/42/", "/users/{}/"),
        ("/v1/users", "/v1/users"),
        ("/b/0123456789abcdef", "/b/{}"),
        ("/b/123e4567-e89b-12d3-a456-426614174000", "/b/{}"),
        ("/b/65a1f0c2", "/b/{}"),
        ("/b/my-post-2024-part-two", "/b/{}"),
        ("/b/a-name-without-numbers", "/b/a-name-without-numbers"),
        ("/b/" + "x" * 33, "/b/{}"),
        ("/" + "a/" * 300, "/" + "a/" * 99 + "a"),
    ],
)
def test_ids_are_folded(path: str, folded: str) -> None:
    """Numbers, hashes, UUIDs and long slugs stand for an id; names do not."""
    assert fold(path) == folded


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ("", 0)),
        ([(b"content-length", b"0")], ("", 0)),
        ([(b"content-length", b"65535")], ("", 65535)),
        ([(b"content-length", b"65536")], ("<256K", 65536)),
        ([(b"accept", b"*/*"), (b"content-length", b"3000000")], ("<4096K", 3000000)),
        ([(b"content-length", b"99999999")], (">64M", 99999999)),
        ([(b"content-length", b"nonsense")], ("", 0)),
        ([(b"transfer-encoding", b"chunked")], ("chunked", 0)),
    ],
)
def test_bodies_have_size_classes(
    headers: list[tuple[bytes, bytes]], expected: tuple[str, int]
) -> None:
    """A class spans a factor of four; what is not told is a class of its own."""
    assert body_class(headers) == expected


def test_routes_differ_by_method_path_and_size_of_the_body() -> None:
    """A GET has no body worth speaking of."""
    routes = Routes(SharedPage())
    found = {
        routes.find(http("/a")).name,
        routes.find(http("/a", content_length="3000000")).name,
        routes.find(http("/a", "POST")).name,
        routes.find(http("/a", "POST", content_length="3000000")).name,
        routes.find({"type": "websocket", "path": "/a", "headers": []}).name,
    }

    assert found == {"GET /a", "POST /a", "POST /a <4096K", "WS /a"}


def test_ids_share_a_route() -> None:
    """What is learned from one user's page holds for another's."""
    routes = Routes(SharedPage())

    assert routes.find(http("/users/1")) is routes.find(http("/users/2"))
    assert routes.find(http("/users/1")) is not routes.find(http("/users/all"))


def test_what_one_worker_learned_another_finds() -> None:
    """Names hash alike in every process, and the numbers are in the page."""
    page = SharedPage()
    learn(Routes(page).find(http("/work")), 8)

    cost = Routes(page).find(http("/work"))

    assert cost.is_known
    assert cost.mean_bytes == 8 * MIB


def test_the_hash_is_the_same_in_every_process() -> None:
    """FNV-1a's published values."""
    assert hash_of(b"") == 0xCBF29CE484222325
    assert hash_of(b"a") == 0xAF63DC4C8601EC8C


class Callable:
    """An endpoint that is an object."""

    def __call__(self) -> None:
        """Do nothing."""


def endpoint() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("left", "name"),
    [
        ({"route": SimpleNamespace(path="/users/{name}")}, "GET /users/{name}"),
        ({"route": SimpleNamespace(path="/a"), "endpoint": endpoint}, "GET /a"),
        ({"endpoint": endpoint}, f"GET {__name__}.endpoint"),
        ({"endpoint": Callable()}, f"GET {__name__}.Callable"),
        ({"route": SimpleNamespace(), "endpoint": Callable}, f"GET {__name__}.Callable"),
        ({"endpoint": functools.partial(endpoint)}, f"GET {__name__}.endpoint"),
        ({}, "GET /users/anna"),
    ],
)
def test_what_the_framework_left_in_the_scope_takes_over(left: dict[str, Any], name: str) -> None:
    """Its template, or its endpoint's name; from then on the path finds it."""
    routes = Routes(SharedPage())
    scope = http("/users/anna")
    first = routes.find(scope)
    scope.update(left)

    learned = routes.learn_template(scope, first)

    assert learned.name == name
    assert routes.find(http("/users/anna")) is learned
    assert routes.learn_template(scope, learned) is learned


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/shop/items/red", "GET /shop/items/{color}"),
        ("/shop/nowhere", "GET /shop/nowhere"),
        ("/files/a.css", "GET /files"),
    ],
)
async def test_what_is_mounted_has_its_own_routes(path: str, name: str) -> None:
    """Or paths, where it has found none; and what has no routes at all is one."""
    shop = FastAPI()
    shop.get("/items/{color}")(endpoint)
    app = Starlette(routes=[Mount("/shop", shop), Mount("/files", PlainTextResponse("a"))])
    routes = Routes(SharedPage())
    scope = http(path)
    scope["query_string"] = b""
    first = routes.find(scope)

    await call(app, scope)

    assert routes.learn_template(scope, first).name == name


def test_a_template_holds_for_new_paths_that_fold_alike() -> None:
    """Once seen for one id, it is known for every other."""
    routes = Routes(SharedPage())
    scope = http("/users/1")
    cost = routes.find(scope)
    scope["route"] = SimpleNamespace(path="/users/{id}")
    routes.learn_template(scope, cost)

    assert routes.find(http("/users/2")).name == "GET /users/{id}"


def test_a_template_counts_for_each_size_of_body() -> None:
    """An upload of 3 MB is not an upload of 3 KB."""
    routes = Routes(SharedPage())
    scope = http("/files", "POST", content_length="3000000")
    cost = routes.find(scope)
    scope["route"] = SimpleNamespace(path="/files")

    assert routes.learn_template(scope, cost).name == "POST /files <4096K"


def test_a_flood_of_invented_paths_does_not_grow_anything() -> None:
    """Of 20,000 paths as many are remembered as there is room for."""
    page = SharedPage()
    routes = Routes(page)
    real = routes.find(http("/work"))
    learn(real, 8)

    for path in invented_paths(20_000):
        routes.find(http(path))

    assert seen_among(routes, invented_paths(20_000)) <= MAX_PATHS
    assert len(costs_in(page)) <= MAX_ROUTES
    assert routes.find(http("/work")).mean_bytes == 8 * MIB


def test_a_flood_of_invented_templates_does_not_grow_anything() -> None:
    """Endpoints made anew for each request, say."""
    routes = Routes(SharedPage())

    for path in invented_paths(MAX_PATHS + 500):
        scope = http(path)
        cost = routes.find(scope)
        scope["route"] = SimpleNamespace(path="T" + path)
        routes.learn_template(scope, cost)

    assert seen_among(routes, invented_paths(MAX_PATHS + 500)) <= MAX_PATHS
    assert routes.find(http(invented_paths(1)[0])).name == "GET /aaaa"


def test_names_beyond_the_number_of_rows_are_forgotten() -> None:
    """Where costs are learned meanwhile, as many routes keep theirs as there are rows."""
    page = SharedPage()
    routes = Routes(page)

    for path in invented_paths(MAX_ROUTES + 1):
        learn(routes.find(http(path)), 8)

    assert MAX_ROUTES - 100 < len(costs_in(page)) <= MAX_ROUTES
    assert seen_among(routes, invented_paths(MAX_ROUTES + 1)) == 1


def test_paths_of_one_route_are_remembered_up_to_a_bound() -> None:
    """Every user has a page, and all of them are one route."""
    routes = Routes(SharedPage())

    paths = [f"/users/{number}" for number in range(MAX_PATHS + 500)]

    assert {routes.find(http(path)).name for path in paths} == {"GET /users/{}"}
    assert seen_among(routes, paths) == MAX_PATHS


def test_long_paths_are_not_remembered_whole() -> None:
    """Two that differ only far behind are one."""
    routes = Routes(SharedPage())
    long = "/" + "a/" * 30_000

    assert routes.find(http(long + "x")) is routes.find(http(long + "y"))
    assert seen_among(routes, [long + "z"]) == 1


def test_a_name_may_end_in_anything() -> None:
    """Zero bytes pad the names in the page, and may come in a path."""
    page = SharedPage()
    routes = Routes(page)
    learn(routes.find(http("/work")), 8)

    routes.find(http("/work\0"))

    assert len(costs_in(page)) == 1
    assert routes.find(http("/work")).is_known


def test_names_too_long_for_the_page_share_a_row_if_they_begin_alike() -> None:
    """Their costs are learned together, which is better than not at all."""
    page = SharedPage()
    routes = Routes(page)
    learn(routes.find(http("/" + "word/" * 30 + "a")), 8)

    assert routes.find(http("/" + "word/" * 30 + "b")).is_known


def test_a_route_whose_row_was_taken_gets_another() -> None:
    """It learns into its own row, never into that of the route that took it."""
    page = SharedPage()
    mine = Routes(page)
    cost = mine.find(http("/work"))
    learn(cost, 8, times=1)
    flood = Routes(page)
    for number, path in enumerate(invented_paths(5 * MAX_ROUTES)):
        learn(flood.find(http(path)), 0, times=2 if number > MAX_ROUTES else 1)
    assert "GET /work" not in costs_in(page)

    again = mine.learn_template(http("/work"), cost)

    assert again is not cost
    assert again.observations == 0
    assert mine.find(http("/work")) is again
    assert "GET /work" in costs_in(page)


def test_a_path_leads_to_its_template_for_every_process() -> None:
    """In the page, where reports on what is in flight look for the name."""
    page = SharedPage()
    mine = Routes(page)
    scope = http("/users/42")
    cost = mine.find(scope)
    assert page.route_name(cost.row) == "GET /users/{}"
    scope["route"] = SimpleNamespace(path="/users/{user_id}")

    learned = mine.learn_template(scope, cost)

    assert page.route_name(cost.row) == page.route_name(learned.row) == "GET /users/{user_id}"
    assert page.cost_name(cost.row) == "GET /users/{}"
    another = Routes(page).find(http("/users/7"))
    assert page.route_name(another.row) == "GET /users/{user_id}"


def test_a_row_that_another_route_has_taken_leads_nowhere() -> None:
    """The name of that one is its own."""
    page = SharedPage()
    mine = Routes(page)
    scope = http("/users/42")
    cost = mine.find(scope)
    page.cost_names(cost.row)[:] = b"GET /other".ljust(COST_NAME_BYTES, b"\0")
    scope["route"] = SimpleNamespace(path="/users/{user_id}")

    mine.learn_template(scope, cost)

    assert page.route_name(cost.row) == "GET /other"
