"""Pages of other sites may do what the options say, and see why something was refused."""

from __future__ import annotations

import json
import sys
import tracemalloc
from typing import Any

import pytest

from tonnage.errors import ConfigError
from tonnage.web.path.cors import MOST_REMEMBERED, Cors
from tonnage.web.respond import Message, Scope

pytest.importorskip("starlette")

SHOP = "https://shop.example"
ALLOW = "access-control-allow-origin"


def request(origin: str | None = SHOP, method: str = "GET", **headers: str) -> Scope:
    """Return the scope of a request; underscores in header names stand for hyphens."""
    given = {} if origin is None else {"origin": origin}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "type": "http",
        "method": method,
        "path": "/",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }


def preflight(origin: str = SHOP, method: str = "PUT", headers: str | None = None) -> Scope:
    """Return the scope of a browser's question."""
    asked = {"access_control_request_method": method}
    if headers is not None:
        asked["access_control_request_headers"] = headers
    return request(origin, "OPTIONS", **asked)


def added(cors: Cors, scope: Scope, *given: tuple[bytes, bytes]) -> dict[str, str]:
    """Return the headers of a response that had the *given* ones."""
    start: Message = {"type": "http.response.start", "status": 413, "headers": list(given)}
    sent = cors.start(scope, start)
    assert start["headers"] == list(given), "the application's message is left as it is"
    return {name.decode(): value.decode() for name, value in sent["headers"]}


@pytest.mark.parametrize(
    "origins", [[SHOP], ["https://x.example", SHOP], [r"re:https://\w+\.example"]]
)
def test_a_page_of_an_allowed_origin_reads_the_answer(origins: list[str]) -> None:
    """By name or by pattern; also a refusal's, and when to come again."""
    cors = Cors(origins)

    for _ in range(2):  # the second time from memory
        assert added(cors, request()) == {
            ALLOW: SHOP,
            "access-control-expose-headers": "Retry-After, RateLimit, RateLimit-Policy",
            "vary": "Origin",
        }


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.org",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil.org",
        "https://notshop.example",
        "null",
        "",
        "https://" + "a" * 10_000,
    ],
)
def test_others_get_no_permission(origin: str) -> None:
    """What is not said is not allowed; a cache still has to know that the answer may differ."""
    cors = Cors([SHOP, r"re:https://[a-z]+\.partner\.example"])

    assert added(cors, request(origin)) == {"vary": "Origin"}


def test_requests_without_an_origin_only_vary() -> None:
    """A cache may not give their answer to a page of another site."""
    assert added(Cors([SHOP]), request(None)) == {"vary": "Origin"}


def test_everyone_gets_the_same() -> None:
    """With ``*`` one answer serves all, and caches need not tell them apart."""
    cors = Cors(["*"])

    assert added(cors, request()) == added(cors, request(None))
    assert added(cors, request())[ALLOW] == "*"
    assert "vary" not in added(cors, request())


def test_credentials_are_for_named_origins() -> None:
    """The answer names the origin."""
    sent = added(Cors([SHOP], credentials=True), request())

    assert sent["access-control-allow-credentials"] == "true"
    assert sent[ALLOW] == SHOP


@pytest.mark.parametrize("name", [b"access-control-allow-origin", b"Access-Control-Allow-Origin"])
def test_what_the_application_allows_itself_stays(name: bytes) -> None:
    """Two permissions would be none, to a browser."""
    own = {name.decode(): "https://own.example"}

    assert added(Cors([SHOP]), request(), (name, b"https://own.example")) == own
    assert added(Cors(["*"]), request(), (name, b"https://own.example")) == own


def test_a_permission_is_remembered_for_a_day() -> None:
    """The browser asks first, and then not again."""
    answer = Cors([SHOP]).preflight(preflight(headers="Content-Type"))

    assert answer is not None
    assert answer.status == 200
    sent = {name.decode(): value.decode() for name, value in answer.all_headers()}
    assert sent[ALLOW] == SHOP
    assert sent["access-control-max-age"] == "86400"
    assert sent["access-control-allow-methods"] == "DELETE, GET, HEAD, PATCH, POST, PUT"
    assert sent["content-type"].startswith("text/plain")
    assert sent["content-length"] == str(len(answer.body))
    assert "Origin" in sent["vary"]


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (preflight("https://evil.example"), "origin"),
        (preflight(method="TRACE"), "method"),
        (preflight(headers="X-Secret"), "headers"),
    ],
)
def test_a_question_that_is_denied_is_told_why(question: Scope, why: str) -> None:
    """As a problem like all refusals, whose words a developer sees in the browser's tools."""
    answer = Cors([SHOP]).preflight(question)

    assert answer is not None
    told = json.loads(answer.body)
    assert answer.status == told["status"] == 400
    assert told["error"] == "cors_refused"
    assert f"Disallowed CORS {why}" in told["detail"]
    sent = dict(answer.all_headers())
    assert sent[b"content-type"] == b"application/problem+json"
    assert (ALLOW.encode() in sent) == (why != "origin")


def test_a_denial_has_the_shape_of_all_refusals() -> None:
    """Where an application has its own."""
    answer = Cors([SHOP]).preflight(preflight(method="TRACE"), lambda problem: [problem.error])

    assert answer is not None
    assert json.loads(answer.body) == ["cors_refused"]


def test_what_may_be_asked_for_is_an_option() -> None:
    """Methods, headers and how long it is remembered."""
    cors = Cors([SHOP], methods=["purge"], headers=["X-Secret"], max_age_seconds=60)

    answer = cors.preflight(preflight(method="PURGE", headers="x-secret"))

    assert answer is not None
    sent = dict(answer.all_headers())
    assert sent[b"access-control-allow-methods"] == b"PURGE"
    assert sent[b"access-control-max-age"] == b"60"
    everything = Cors([SHOP], methods=["*"], headers=["*"])
    answer = everything.preflight(preflight(headers="x-any"))
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize(
    "scope",
    [
        request(),
        request(method="OPTIONS"),
        request(None, "OPTIONS", access_control_request_method="PUT"),
        request(method="POST", access_control_request_method="PUT"),
    ],
)
def test_what_is_no_question_goes_to_the_application(scope: Scope) -> None:
    """An application may answer OPTIONS itself."""
    assert Cors([SHOP]).preflight(scope) is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"origins": ["https://shop.example/"]}, "is not an origin"),
        ({"origins": ["shop.example"]}, "is not an origin"),
        ({"origins": ["https://*.shop.example"]}, "is not an origin"),
        ({"origins": ["https://shop.example:port"]}, "is not an origin"),
        ({"origins": [""]}, "is not an origin"),
        ({"origins": ["re:https://("]}, "is not a regular expression"),
        ({"origins": ["*"], "credentials": True}, "origins by name"),
        ({"origins": ["null", SHOP], "credentials": True}, "origins by name"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], why: str) -> None:
    """A slash at the end would never match; credentials for everyone would be for thieves too."""
    with pytest.raises(ConfigError, match=why):
        Cors(**options)


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "http://[::1]:3000", "https://SHOP.example", "capacitor://localhost"],
)
def test_origins_are_as_browsers_write_them(origin: str) -> None:
    """Scheme, host and port, in lower case; apps on phones have schemes of their own."""
    assert added(Cors([origin]), request(origin.lower()))[ALLOW] == origin.lower()


def test_invented_origins_do_not_fill_the_memory() -> None:
    """A pattern may allow any number; what is remembered is bounded, and stays right."""
    cors = Cors([r"re:https://\w+\.example"])

    def invent(numbers: range) -> None:
        for number in numbers:
            origin = f"https://x{number}.example"
            assert added(cors, request(origin))[ALLOW] == origin
            added(cors, request(f"https://{number}.other"))

    invent(range(MOST_REMEMBERED - 10))
    tracemalloc.start()
    invent(range(MOST_REMEMBERED, 3 * MOST_REMEMBERED - 10))
    grown_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown_bytes < MOST_REMEMBERED * 1500


def test_without_starlette_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: Flask and Django do not bring it."""
    monkeypatch.setitem(sys.modules, "starlette.middleware.cors", None)

    with pytest.raises(ConfigError, match=r"pip install 'tonnage\[cors\]'"):
        Cors([SHOP])
