"""What operators are answered with: the same words, whoever answers."""

from __future__ import annotations

import json

from tonnage.ops.answers import answer_json, dumped, problem, who_may, wrong_method


def test_a_problem_says_what_it_is_and_why() -> None:
    """By a word for programs, and a sentence for people."""
    found = problem(503, "service_unavailable", "try again soon", ((b"retry-after", b"2"),))

    assert (found.status, found.content_type) == (503, b"application/json")
    assert json.loads(found.body) == {"error": "service_unavailable", "detail": "try again soon"}
    assert found.headers == ((b"retry-after", b"2"),)


def test_a_wrong_method_is_told_the_right_ones() -> None:
    """In the header that is for that, too."""
    found = wrong_method("GET, HEAD")

    assert (found.status, found.headers) == (405, ((b"allow", b"GET, HEAD"),))
    assert json.loads(found.body)["detail"] == "this path takes GET, HEAD"


def test_who_may_is_one_sentence() -> None:
    """With what else opens, and what else is asked for, in between."""
    token = "or with 'Authorization: Bearer <TONNAGE_ADMIN_TOKEN>'"

    assert who_may("figures are shown") == (
        f"figures are shown to loopback peers without a proxy, {token}"
    )
    assert who_may("this is shown", "to no page of another site", "after a log-in") == (
        "this is shown to loopback peers without a proxy, to no page of another site, "
        f"after a log-in, {token}"
    )


def test_text_is_sent_as_it_is() -> None:
    """Escaped, a character that is not ASCII would take six bytes; what is none is a mark."""
    assert dumped({"a": "ü"}) == '{"a":"ü"}'.encode()
    assert dumped(["\ud800"]) == b'["?"]'
    assert answer_json({}, 202).status == 202
