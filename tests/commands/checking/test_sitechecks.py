"""What a server's answers mean: from good ones, each bad one makes one finding."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tonnage.commands.checking.sitechecks import check_site
from tonnage.commands.checking.sitefacts import Reply, SiteFacts

PAGE = Reply(
    200,
    (
        ("content-type", "text/html"),
        ("x-content-type-options", "nosniff"),
        ("strict-transport-security", "max-age=1"),
    ),
    b"x" * 4096,
    is_kept=True,
)
PACKED = Reply(200, (("content-encoding", "gzip"), ("vary", "Origin, Accept-Encoding")), b"x" * 99)
NOT_THERE = Reply(0, error="the connection is refused")


def healthy(at_seconds: float, uptime: float, said: str = "OK", on_its_way: float = 0.01) -> Reply:
    """Return what health says at some time."""
    body = json.dumps({"status": said, "uptime": uptime}).encode()
    return Reply(200, (), body, at_seconds - on_its_way, at_seconds)


def details(**changed: Any) -> Reply:
    """Return the details of memory."""
    told = {
        "status": "OK",
        "memory": {"usagePercent": 41.0, "limit": 512.0},
        "kernelKills": 0,
        "desiredWorkers": 2,
        "plannedWorkers": 2,
    }
    return Reply(200, (), json.dumps(told | changed).encode())


METRICS = Reply(200, (), b'# TYPE tonnage_build_info gauge\ntonnage_build_info{version="1"} 1\n')

GOOD = SiteFacts(
    is_encrypted=True,
    is_here=False,
    instances=1,
    healths=tuple(healthy(100.0 + each, 60.0 + each) for each in range(5)),
    ready=Reply(200),
    memory=details(),
    metrics=METRICS,
    has_token=True,
    strangers=(("GET /health/memory", Reply(403)), ("POST /cache/clear", Reply(404))),
    outsiders=(("GET /health/memory", Reply(403)), ("POST /cache/clear", Reply(404))),
    plain=PAGE,
    packed=PACKED,
    foreign=Reply(200, (("access-control-allow-origin", "*"),)),
    missing=Reply(404),
    large=Reply(413),
    large_bytes=2**24,
    rates=(Reply(200), Reply(429, (("retry-after", "9"),))),
    unencrypted=Reply(301, (("location", "https://shop.example/"),)),
)


def faults(facts: SiteFacts) -> list[str]:
    """Return the checks that failed, each with advice."""
    found = [each for each in check_site(facts) if each.outcome == "fail"]
    assert all(each.advice for each in found)
    return [each.name for each in found]


def without(name: str) -> Reply:
    """Return the page without the header *name*."""
    return replace(PAGE, headers=tuple(each for each in PAGE.headers if each[0] != name))


def saying(name: str, value: str) -> Reply:
    """Return the page with one header more."""
    return replace(PAGE, headers=(*PAGE.headers, (name, value)))


def test_nothing_is_wrong_where_nothing_is() -> None:
    """Every check passes, and has a name of its own."""
    found = check_site(GOOD)

    assert {each.outcome for each in found} == {"pass"}
    assert len({each.name for each in found}) == len(found)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"healths": (healthy(1, 1), Reply(502))}, "health"),
        ({"healths": (healthy(1, 1, "CRITICAL"),)}, "health"),
        ({"healths": (Reply(200, (), b"fine"),)}, "health"),
        ({"ready": Reply(503)}, "ready"),
        ({"memory": Reply(403)}, "memory"),
        ({"memory": details(status="WARNING")}, "memory"),
        ({"memory": details(kernelKills=1)}, "memory"),
        ({"memory": details(desiredWorkers=1)}, "memory"),
        ({"metrics": Reply(403)}, "metrics"),
        ({"metrics": Reply(404)}, "metrics"),
        ({"metrics": NOT_THERE}, "metrics"),
        ({"healths": (healthy(100, 60), healthy(101, 10))}, "instances"),
        ({"strangers": (("POST /cache/clear", Reply(200)),)}, "closed"),
        ({"outsiders": (("GET /tonnage/state", Reply(200)),)}, "closed"),
        ({"outsiders": None, "strangers": (("POST /cache/clear", Reply(200)),)}, "closed"),
        ({"packed": PAGE}, "compression"),
        ({"packed": replace(PACKED, headers=PACKED.headers[:1])}, "compression"),
        ({"large": Reply(404)}, "bodies"),
        ({"large": NOT_THERE}, "bodies"),
        ({"rates": (Reply(200), Reply(200))}, "rates"),
        ({"rates": (Reply(429),)}, "rates"),
        ({"plain": saying("x-powered-by", "luck")}, "headers"),
        ({"plain": saying("server", "uvicorn")}, "headers"),
        ({"plain": saying("server", "nginx/1.18.0")}, "headers"),
        ({"plain": without("x-content-type-options")}, "browsers"),
        ({"plain": without("strict-transport-security")}, "browsers"),
        ({"plain": replace(PAGE, is_kept=False)}, "keep-alive"),
        ({"missing": Reply(500)}, "errors"),
        ({"missing": Reply(404, (), b"<p>DEBUG = True</p>")}, "errors"),
        ({"unencrypted": Reply(200)}, "encryption"),
        ({"is_encrypted": False}, "encryption"),
    ],
)
def test_each_fault_is_found(changed: dict[str, Any], name: str) -> None:
    """By one check, and that says what to do."""
    assert faults(replace(GOOD, **changed)) == [name]


def test_a_closed_door_for_plain_http_is_no_fault() -> None:
    """Nobody can send anything in the clear there."""
    for closed in (None, NOT_THERE):
        assert faults(replace(GOOD, unencrypted=closed)) == []


def test_an_open_door_for_cookies_is_found() -> None:
    """Whether every site is allowed, or the one that asks."""
    for origin in ("*", "https://tonnage-check.invalid"):
        allowed = (("access-control-allow-origin", origin),)
        cookies = (("access-control-allow-credentials", "true"),)
        assert faults(replace(GOOD, foreign=Reply(200, allowed + cookies))) == ["cors"]


def test_several_servers_are_no_fault_where_they_are_meant() -> None:
    """Each has started at a time of its own."""
    two = (healthy(100, 60), healthy(101, 10), healthy(102, 62))

    assert faults(replace(GOOD, healths=two, instances=2)) == []
    assert faults(replace(GOOD, healths=two)) == ["instances"]


def test_a_slow_answer_is_no_other_server() -> None:
    """It may have been on its way for as long as it took."""
    slow = healthy(110.0, 61.0, on_its_way=9.5)

    assert faults(replace(GOOD, healths=(*GOOD.healths, slow))) == []
    assert faults(replace(GOOD, healths=(*GOOD.healths, healthy(110.0, 61.0)))) == ["instances"]


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"memory": Reply(403), "has_token": False}, "memory"),
        ({"metrics": Reply(403), "has_token": False}, "metrics"),
        ({"metrics": None}, "metrics"),
        ({"metrics": Reply(200, (), b"# of its own")}, "metrics"),
        ({"large": Reply(405)}, "bodies"),
        ({"rates": None}, "rates"),
        ({"outsiders": None}, "closed"),
        ({"is_encrypted": False, "is_here": True}, "encryption"),
        ({"packed": NOT_THERE}, "compression"),
        ({"packed": replace(PAGE, body=b"x"), "plain": replace(PAGE, body=b"x")}, "compression"),
    ],
)
def test_what_cannot_be_judged_is_skipped(changed: dict[str, Any], name: str) -> None:
    """And is no fault."""
    outcomes = {each.name: each.outcome for each in check_site(replace(GOOD, **changed))}

    assert outcomes.pop(name) == "skip"
    assert set(outcomes.values()) == {"pass"}


def test_an_answer_without_sense_is_no_error() -> None:
    """A server that is not ours can answer anything."""
    for body in (b"", b"[]", b"{", b"[" * 100_000, b'{"memory": 1, "uptime": "long"}'):
        strange = Reply(200, (), body)
        found = check_site(replace(GOOD, healths=(strange,), memory=strange))
        assert {"health", "memory"} <= {each.name for each in found if each.outcome == "fail"}
