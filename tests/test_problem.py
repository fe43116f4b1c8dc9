"""The shape of refusals."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tonnage.errors import RequestRefusedError
from tonnage.problem import Problem, problem_in

FULL = Problem(413, "too_large", "send less", {"maxBytes": 7}, ((b"retry-after", b"1"),))


def test_a_problem_is_that_of_the_rfc() -> None:
    """RFC 9457: the members that it defines, and ours beside them."""
    answer = FULL.answer()
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Request Entity Too Large",
        "status": 413,
        "error": "too_large",
        "detail": "send less",
        "maxBytes": 7,
    }
    assert answer.status == 413
    headers = dict(answer.all_headers())
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"content-length"] == str(len(answer.body)).encode()
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"retry-after"] == b"1"


def test_a_shape_of_ones_own_makes_the_json() -> None:
    """Status and headers stay."""
    answer = FULL.answer(lambda problem: {"message": problem.detail})
    assert json.loads(answer.body) == {"message": "send less"}
    assert (answer.status, answer.headers) == (413, FULL.headers)
    assert answer.content_type == b"application/json"


def failing(problem: Problem) -> Any:
    """Raise."""
    raise KeyError(problem.error)


@pytest.mark.parametrize("shape", [failing, lambda problem: {problem}])
def test_a_shape_that_fails_is_logged_and_not_used(
    shape: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it raises or makes what is no JSON: the client is told nevertheless."""
    with caplog.at_level(logging.ERROR, "tonnage.requests"):
        answer = FULL.answer(shape)
    assert answer == FULL.answer()
    assert "shape of refusals failed for 'too_large'" in caplog.text


def test_what_nobody_can_encode_is_answered() -> None:
    """A name from the outside may hold half a character; a status may have no name."""
    answer = Problem(499, "odd", "half \ud800").answer()
    assert json.loads(answer.body)["detail"] == "half ?"
    assert json.loads(answer.body)["title"] == "Refused"


def test_a_problem_is_found_in_causes_and_groups() -> None:
    """Task groups wrap what is raised in them, and frameworks chain."""
    refused = RequestRefusedError(FULL)
    wrapped = ValueError()
    wrapped.__cause__ = ExceptionGroup("", [KeyError(), ExceptionGroup("", [refused])])
    assert problem_in(refused) is FULL
    assert problem_in(wrapped) is FULL
    assert problem_in(ExceptionGroup("", [KeyError()])) is None
    assert problem_in(None) is None


def test_a_circle_of_causes_has_an_end() -> None:
    """Nothing forbids one."""
    error = ValueError()
    error.__cause__ = error
    assert problem_in(error) is None
