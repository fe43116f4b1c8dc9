"""What a worker counts: by route, bounded, whatever clients ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tonnage.ops.figures.counting import NO_STATUS, Counting
from tonnage.ops.figures.records import (
    BUCKETS_SECONDS,
    LONGEST_NAME_CHARS,
    MOST_ROUTES,
    OTHER,
    RouteFigures,
)
from tonnage.ops.figures.telling import route_of
from tonnage.web.respond import was_shed
from tonnage.web.routes import OPERATIONS, ROUTE


def _scope(path: str = "/", *, template: str | None = None, **others: Any) -> dict[str, Any]:
    """Return a request as it is when it has been answered; *template*: of the framework's route."""
    found = {} if template is None else {"route": SimpleNamespace(path=template)}
    method = others.get("method", "GET")
    known = {ROUTE: f"{method} {path}"}
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [],
        **known,
        **found,
        **others,
    }


def _figures(counting: Counting) -> dict[str, RouteFigures]:
    return {tally.name: route_of(tally.row()) for tally in counting.tallies()}


def test_answers_count_by_class_and_time() -> None:
    """Each in its bucket: the first whose end is not before it."""
    counting = Counting()
    for status, seconds in ((200, 0.001), (204, 0.0011), (301, 4), (404, 0.3), (500, 11)):
        counting.count(_scope("/a"), status, seconds)

    route = _figures(counting)["GET /a"]

    assert route.statuses == (0, 2, 1, 1, 1)
    assert route.seconds == pytest.approx(15.3021)
    used = {place: count for place, count in enumerate(route.buckets) if count}
    assert used == {0: 1, 1: 1, BUCKETS_SECONDS.index(0.5): 1, BUCKETS_SECONDS.index(5): 1, 13: 1}
    assert route.shed == 0


def test_a_request_without_an_answer_counts_with_1xx() -> None:
    """A client that goes has been a request."""
    counting = Counting()
    counting.count(_scope("/a", template="/a"), NO_STATUS, 1)

    assert _figures(counting)["GET /a"].statuses == (1, 0, 0, 0, 0)


def test_the_template_is_the_name() -> None:
    """As soon as the framework has shown it; the gate's name for the path leads there later."""
    counting = Counting()
    counting.count(_scope("/users/7", template="/users/{id}"), 200, 0.1)
    scope = _scope("/users/7")
    counting.count(scope, 429, 0.1)

    assert {name: each.requests for name, each in _figures(counting).items()} == {
        "GET /users/{id}": 2
    }


def test_the_size_of_a_body_makes_no_other_name() -> None:
    """Of a route whose costs are learned by the class of the body."""
    counting = Counting()
    large = [(b"content-length", b"100000")]
    counting.count(_scope("/a", method="POST", headers=large, **{ROUTE: "POST /a <256K"}), 200, 0.1)
    counting.count(_scope("/a", method="POST"), 200, 0.1)

    assert list(_figures(counting)) == ["POST /a"]


def test_paths_that_are_not_there_make_no_names() -> None:
    """Nor do methods that a route does not have, nor refusals; all are counted."""
    counting = Counting()
    for number in range(300):
        counting.count(_scope(f"/wp-admin/{number}"), 404, 0.1)
        counting.count(_scope(f"/shed/{number}"), 503, 0.1)
        counting.count(_scope(f"/login/{number}"), 401, 0.1)
    counting.count(_scope("/a", method="DELETE", template="/a"), 405, 0.1)

    assert {name: each.requests for name, each in _figures(counting).items()} == {OTHER: 901}


def test_a_route_that_is_known_keeps_what_it_refuses() -> None:
    """Its 404 and 503 are its own."""
    counting = Counting()
    for status in (200, 404, 503):
        counting.count(_scope("/a"), status, 0.1)

    assert _figures(counting)["GET /a"].statuses == (0, 1, 0, 1, 1)


def test_paths_leave_room_for_templates() -> None:
    """Whoever finds an application that answers anything with 200 cannot take all names."""
    counting = Counting()
    for number in range(500):
        counting.count(_scope(f"/any/{number}"), 200, 0.1)
    counting.count(_scope("/late", template="/late"), 200, 0.1)
    found = _figures(counting)

    assert len(found) == MOST_ROUTES // 2 + 2
    assert found["GET /late"].requests == 1
    assert found[OTHER].requests == 500 - MOST_ROUTES // 2


def test_there_are_so_many_names_at_most() -> None:
    """The routes of a large application are counted all the same."""
    counting = Counting()
    for number in range(500):
        counting.count(_scope(f"/{number}", template=f"/{number}/{'x' * 999}"), 200, 0.1)
    found = _figures(counting)

    assert len(found) == MOST_ROUTES
    assert sum(each.requests for each in found.values()) == 500
    assert max(map(len, found)) == LONGEST_NAME_CHARS


def test_what_operators_ask_does_not_count() -> None:
    """A probe each second would bury the application's own figures."""
    counting = Counting()
    counting.count(_scope("/health", **{ROUTE: OPERATIONS}), 200, 0.1)

    assert _figures(counting) == {}


def test_what_was_refused_before_the_gate_counts_for_its_route() -> None:
    """The gate is asked what it calls it; what it does not know is no route."""
    names = {"/photos": "POST /photos <256K"}
    counting = Counting(lambda scope: names.get(scope["path"]))
    large = [(b"content-length", b"100000")]
    scope = _scope("/photos", method="POST", headers=large)
    counting.count({**scope}, 201, 0.1)
    del scope[ROUTE]
    counting.count(scope, 413, 0.1)
    counting.count({**scope, "path": "/else"}, 413, 0.1)

    found = _figures(counting)
    assert found["POST /photos"].statuses == (0, 1, 0, 1, 0)
    assert found[OTHER].statuses == (0, 0, 0, 1, 0)


def test_only_what_tonnage_refused_is_shed() -> None:
    """An application may have a 503 of its own."""
    counting = Counting()
    counting.count(_scope("/a"), 200, 0.1)
    counting.count(_scope("/a"), 503, 0.1)
    assert _figures(counting)["GET /a"].shed == 0

    was_shed.set(True)
    counting.count(_scope("/a"), 503, 0.1)
    # A later request of the same connection may have inherited that.
    counting.count(_scope("/a"), 429, 0.1)

    assert _figures(counting)["GET /a"].shed == 1


def test_what_was_never_a_request_counts_as_other() -> None:
    """It was answered, after all."""
    counting = Counting()
    counting.count_unread(400)
    counting.count_unread(503)

    other = _figures(counting)[OTHER]
    assert other.statuses == (0, 0, 0, 1, 1)
    assert other.shed == 1
