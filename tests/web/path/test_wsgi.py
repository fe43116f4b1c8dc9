"""A WSGI application and its requests within limits; both sides are held to the standard."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from wsgiref.validate import validator

import pytest
from tests.web.path.wsgiapps import (
    JSON,
    LONG_TEXT,
    TEXT,
    echo,
    refused,
    replying,
)
from tests.web.path.wsgiserver import Answer, ask

from tonnage.errors import ConfigError, RequestRefusedError
from tonnage.problem import Problem
from tonnage.rates.table import RateTable
from tonnage.units import KIB, MIB
from tonnage.web.path.wsgi import TonnageWSGI


def slurp(environ: Any, start_response: Any) -> list[bytes]:
    """Answer with how long the body is, however long."""
    body = b"".join(iter(lambda: environ["wsgi.input"].read(KIB), b""))
    start_response("200 OK", [TEXT])
    return [b"%d" % len(body)]


def test_nothing_is_limited_unless_asked_for() -> None:
    """What the application says arrives as it was said, with the length that it shows."""
    app = TonnageWSGI(echo)
    answer = ask(app, method="POST", body=b"hello")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers == {"content-type": "text/plain", "content-length": "5"}


class Unread(io.BytesIO):
    """A body that nobody may read."""

    def read(self, *_: object) -> bytes:
        """Fail."""
        raise AssertionError("it was read")


def test_a_body_is_refused_by_its_announced_length() -> None:
    """Before anything of it is read; an upload has a limit of its own."""
    app = TonnageWSGI(echo, max_body="1K", max_upload="2K")
    unread = {"wsgi.input": Unread(b"a" * 1500)}
    answer = ask(app, method="POST", body=b"a" * 1500, server=unread, content_type=JSON[1])
    assert refused(answer, 413, "payload_too_large")["maxBytes"] == KIB
    assert ask(app, method="POST", body=b"a" * 1500, content_type="image/png").status == 200


def test_a_limit_of_uploads_is_none_of_json() -> None:
    """What has no limit is not counted."""
    app = TonnageWSGI(echo, max_upload="1K")
    for kind, status in ((JSON[1], 200), ("image/png", 413)):
        assert ask(app, method="POST", body=b"a" * 2000, content_type=kind).status == status


@pytest.mark.parametrize("decompress", [False, True])
def test_a_length_that_is_no_number_is_none(decompress: bool) -> None:
    """Some servers hand on whatever was sent; a number too long to be read is too large."""
    app = TonnageWSGI(replying(b"ok"), max_body="1K", decompress=decompress)
    for said, status in (("²", 200), ("-1", 200), ("1e3", 200), ("9" * 5000, 413)):
        server = {"CONTENT_LENGTH": said, "HTTP_CONTENT_ENCODING": "gzip"}
        # The validator itself reads the number.
        assert ask(app, method="POST", server=server, is_strict=False).status == status


class Endless(io.RawIOBase):
    """A body that never ends; counts what was read of it."""

    given_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return as much as was asked for."""
        assert size >= 0, "all of it was asked for"
        self.given_bytes += size
        return b"a" * size

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line without an end."""
        return self.read(-1 if size is None else size)


READERS: dict[str, Callable[[Any], object]] = {
    "all": lambda body: body.read(-1),
    "pieces": lambda body: list(iter(lambda: body.read(300), b"")),
    "line": lambda body: body.readline(),
    "lines": lambda body: body.readlines(),
    "iterated": list,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_body_is_counted_as_it_is_read(reader: str) -> None:
    """Without a length, and however it is read, no more than one byte too many is."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        READERS[reader](environ["wsgi.input"])
        return []

    endless = Endless()
    server = {"wsgi.input": endless}
    answer = ask(
        TonnageWSGI(app, max_body="1K"), method="POST", body=b"?", is_chunked=True, server=server
    )
    refused(answer, 413, "payload_too_large")
    assert endless.given_bytes <= KIB + 1


def test_a_body_within_its_limit_is_read_whole() -> None:
    """Up to the last byte, by lines or at once, also without an announced length."""
    app = TonnageWSGI(slurp, max_body="1K")
    assert ask(app, method="POST", body=b"a" * KIB, is_chunked=True).body == b"1024"

    def lines(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        start_response("200 OK", [TEXT])
        return [body.readline(), body.readline(1), *body.readlines(1), *body]

    answer = ask(TonnageWSGI(validator(lines), max_body="1K"), method="POST", body=b"a\nbc\nd\ne\n")
    assert answer.pieces == [b"a\n", b"b", b"c\n", b"d\n", b"e\n"]

    def all_lines(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        found: list[bytes] = environ["wsgi.input"].readlines()
        return found

    assert ask(TonnageWSGI(all_lines, max_body="1K"), method="POST", body=b"a\nb").pieces == [
        b"a\n",
        b"b",
    ]


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Internal Server Error"])
def test_what_a_framework_makes_of_a_refused_body_is_replaced(status: str) -> None:
    """It is we who know why."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read(2 * KIB)
        except RequestRefusedError:
            start_response(status, [TEXT])
            return [b"there was an error"]
        raise AssertionError("not refused")

    answer = ask(TonnageWSGI(app, max_body="1K"), method="POST", body=b"a" * 2000, is_chunked=True)
    refused(answer, 413, "payload_too_large")


def test_an_error_that_hides_a_refused_body_is_no_error() -> None:
    """As those of JSON parsers that have read half of it."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        with suppress(RequestRefusedError):
            environ["wsgi.input"].read(2 * KIB)
        raise ValueError("no JSON")

    answer = ask(TonnageWSGI(app, max_body="1K"), method="POST", body=b"a" * 2000, is_chunked=True)
    refused(answer, 413, "payload_too_large")


TEAPOT = Problem(418, "teapot", "no coffee", {"pot": 1}, ((b"x-pot", b"1"),))


def test_a_refusal_of_the_application_is_answered() -> None:
    """With its status, its headers and its members; also from a generator that has begun to."""

    def plain(environ: Any, start_response: Any) -> list[bytes]:
        raise RequestRefusedError(TEAPOT)

    def late(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [TEXT])
        yield b""
        raise RequestRefusedError(TEAPOT)

    def wrapped(environ: Any, start_response: Any) -> list[bytes]:
        raise LookupError from RequestRefusedError(TEAPOT)

    def handled(environ: Any, start_response: Any) -> list[bytes]:
        try:
            raise RequestRefusedError(TEAPOT)
        except RequestRefusedError:
            start_response("500 Internal Server Error", [TEXT], sys.exc_info())
            return [b"sorry"]

    for app in (plain, late, wrapped, handled):
        answer = ask(TonnageWSGI(app))
        # The validator does not see 418 as anything special.
        assert refused(answer, 418, "teapot")["pot"] == 1
        assert answer.headers["x-pot"] == "1"


def test_other_errors_are_the_servers() -> None:
    """They are not ours to answer."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise LookupError("nothing here")

    with pytest.raises(LookupError, match="nothing here"):
        ask(TonnageWSGI(app, max_body="1K", max_response="1K"))


def test_an_own_shape_of_refusals() -> None:
    """The user's function makes the JSON; the status stays."""
    app = TonnageWSGI(echo, max_body="1", shape=lambda problem: {"oops": problem.error})
    answer = ask(app, method="POST", body=b"ab")
    assert answer.status == 413
    assert answer.json() == {"oops": "payload_too_large"}


def test_head_is_refused_without_a_body() -> None:
    """But with the length that it would have."""
    app = TonnageWSGI(replying(b""), rate_limit="1/1h", rate_store=RateTable(8))
    ask(app, method="HEAD")
    refusal = ask(app, method="HEAD")
    assert (refusal.status, refusal.body) == (429, b"")
    assert int(refusal.headers["content-length"]) > 0


def test_the_rate_of_an_address_is_limited() -> None:
    """Responses say what is left; a route has its own, and another address too."""
    app = TonnageWSGI(
        replying(b"ok"),
        rate_limit="2/1h",
        routes={"/photos/{id}": {"rate_limit": "1/1h"}},
        rate_store=RateTable(64),
    )
    assert [ask(app).headers["ratelimit"].split(";")[1] for _ in range(2)] == ["r=1", "r=0"]
    answer = ask(app)
    said = refused(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) == said["retryAfter"] > 0
    assert ask(app, "/photos/1").status == 200
    assert ask(app, "/photos/2").status == 429
    assert ask(app, server={"REMOTE_ADDR": "192.0.2.2"}).status == 200


def test_refusals_say_what_is_left_too() -> None:
    """Whatever they are made for, before the application or in place of its answer."""

    def refusing(environ: Any, start_response: Any) -> list[bytes]:
        raise RequestRefusedError(TEAPOT)

    for app, body, status in ((echo, b"ab", 413), (refusing, b"", 418), (echo, b"a", 200)):
        limited = TonnageWSGI(app, max_body="1", rate_limit="2/1h", rate_store=RateTable(8))
        answer = ask(limited, method="POST", body=body)
        assert (answer.status, answer.headers["ratelimit"].split(";")[1]) == (status, "r=1")
        assert answer.headers["ratelimit-policy"] == '"default";q=2;w=3600'


def test_a_key_of_ones_own_sees_the_environ() -> None:
    """A middleware in front may have put the user there."""
    from tonnage.rates.limits import Limit

    def user(scope: Any) -> str | None:
        found: str | None = scope["wsgi.environ"].get("app.user")
        return found

    limit = Limit("1/1h", key=user, name="user")
    app = TonnageWSGI(replying(b"ok"), rate_limit=limit, rate_store=RateTable(64))
    statuses = [ask(app, server={"app.user": name}).status for name in ("ann", "ben", "ann")]
    assert statuses == [200, 200, 429]
    assert ask(app).status == 200


def test_proxies_are_believed_as_many_as_there_are() -> None:
    """Their client is the application's, and the limiter's; what is further left is not read."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        return [f"{environ['REMOTE_ADDR']} {environ['wsgi.url_scheme']}".encode()]

    behind = TonnageWSGI(app, proxy_hops=1, rate_limit="1/1h", rate_store=RateTable(64))

    def get(address: str) -> Answer:
        return ask(behind, x_forwarded_for=f"10.9.9.9, {address}", x_forwarded_proto="https")

    assert get("203.0.113.5").body == b"203.0.113.5 https"
    assert get("203.0.113.5").status == 429
    assert get("203.0.113.6").status == 200
    assert ask(TonnageWSGI(app), x_forwarded_for="203.0.113.5").body == b"192.0.2.1 http"


def test_proxies_are_believed_once() -> None:
    """By the outermost of two wrappers: the client that it has found is no proxy of the inner."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        return [f"{environ['REMOTE_ADDR']} by {environ['tonnage.peer'][0]}".encode()]

    twice = TonnageWSGI(TonnageWSGI(app, proxy_hops=1), proxy_hops=1)
    assert ask(twice, x_forwarded_for="203.0.113.5").body == b"203.0.113.5 by 192.0.2.1"


def test_a_client_without_an_address_has_none() -> None:
    """As behind a Unix socket, where the proxy says nothing of its client."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [TEXT])
        return [repr(environ["REMOTE_ADDR"]).encode()]

    behind = TonnageWSGI(app, proxy_hops=1)
    assert ask(behind, server={"REMOTE_ADDR": ""}).body == b"''"
    said = ask(behind, server={"REMOTE_ADDR": ""}, x_forwarded_for="203.0.113.5")
    assert said.body == b"'203.0.113.5'"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_compressed_bodies_are_unpacked(is_chunked: bool) -> None:
    """The application sees a plain body, and how long that is."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        assert "HTTP_CONTENT_ENCODING" not in environ
        assert "HTTP_TRANSFER_ENCODING" not in environ
        return echo(environ, start_response)

    unpacking = TonnageWSGI(app, decompress=True, max_body="64K")
    answer = ask(
        unpacking,
        method="POST",
        body=gzip.compress(LONG_TEXT),
        is_chunked=is_chunked,
        content_encoding="gzip",
    )
    assert answer.body == LONG_TEXT
    assert ask(unpacking, method="POST", body=b"plain").body == b"plain"


def test_bombs_and_rubbish_are_refused() -> None:
    """Before the application is asked."""
    app = TonnageWSGI(replying(b"reached"), decompress=True, max_body="64K")

    def post(body: bytes, coding: str = "gzip") -> Answer:
        return ask(app, method="POST", body=body, content_encoding=coding)

    refused(post(gzip.compress(b"\0" * MIB)), 413, "payload_too_large")
    refused(post(b"no gzip"), 400, "bad_content_encoding")
    refused(post(gzip.compress(LONG_TEXT)[:-20]), 400, "bad_content_encoding")
    refused(post(b"?", "rot13"), 415, "unsupported_content_encoding")
    decompression: Any = app._lanes.all()[0].decompression
    assert decompression.held_bytes == 0


def test_how_far_bodies_unpack_is_an_option_and_a_routes() -> None:
    """As in the other door."""
    routes = {"POST /logs": {"decompress_ratio": 2000}, "POST /few": {"decompress_ratio": 20}}

    def statuses(**options: Any) -> list[int]:
        app = TonnageWSGI(echo, decompress=True, max_body="1M", routes=routes, **options)
        body = gzip.compress(bytes(200_000))
        return [
            ask(app, method="POST", path=path, body=body, content_encoding="gzip").status
            for path in ("/", "/logs", "/few")
        ]

    assert statuses() == [413, 200, 413]
    assert statuses(decompress_ratio=None) == [200, 200, 413]


def test_what_is_compressed_and_what_is_shown_are_options() -> None:
    """As in the other door."""
    pytest.importorskip("starlette")
    shop, raw = "https://shop.example", ("Content-Type", "image/x-raw")
    app = TonnageWSGI(
        replying(LONG_TEXT, headers=[raw]),
        compress=True,
        compress_types=["image/x-raw"],
        cors_origins=[shop],
        cors_expose=["X-Total"],
    )
    answer = ask(app, origin=shop, accept_encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["access-control-expose-headers"].endswith("RateLimit-Policy, X-Total")
    plain = TonnageWSGI(replying(LONG_TEXT), compress=True, compress_min="1M")
    assert "content-encoding" not in ask(plain, accept_encoding="gzip").headers


def test_other_sites_may_call_as_the_options_say() -> None:
    """A question is answered without the application; refusals can be read too."""
    pytest.importorskip("starlette")
    shop = "https://shop.example"
    app = TonnageWSGI(echo, cors_origins=[shop], max_body="1")
    asked = ask(app, method="OPTIONS", origin=shop, access_control_request_method="PUT")
    assert asked.headers["access-control-allow-methods"]
    for body in (b"", b"ab"):
        answer = ask(app, method="POST", body=body, origin=shop)
        assert answer.status == (413 if body else 200)
        assert answer.headers["access-control-allow-origin"] == shop
    assert ask(app, method="OPTIONS").status == 200


def test_routes_are_found_below_a_mount() -> None:
    """By the path that the application itself sees, in UTF-8."""
    app = TonnageWSGI(echo, routes={"POST /größe": {"max_body": "1"}})
    path = "/größe".encode().decode("latin-1")
    for server in ({}, {"SCRIPT_NAME": "/shop"}):
        assert ask(app, path, method="POST", body=b"ab", server=server).status == 413
    assert ask(app, "/elsewhere", method="POST", body=b"ab").status == 200


def test_a_time_cannot_be_kept() -> None:
    """So it is refused, for a route as well, with what to do instead."""
    with pytest.raises(ConfigError, match="tonnage run --timeout"):
        TonnageWSGI(echo, timeout="30s")
    with pytest.raises(ConfigError, match="POST /x: a timeout cannot be kept"):
        TonnageWSGI(echo, routes={"POST /x": {"timeout": 5}})
    with pytest.raises(ConfigError, match="decompress needs max_body"):
        TonnageWSGI(echo, decompress=True)
    with pytest.raises(ConfigError, match="there is no rule 'max_bodi'"):
        TonnageWSGI(echo, routes={"/x": {"max_bodi": "1M"}})


def test_threads_share_one_wrapper() -> None:
    """Each request has its own count, its own compressor, and what it has sent itself."""
    app = TonnageWSGI(
        echo,
        max_body="100K",
        max_response="100K",
        compress=True,
        rate_limit="100/1h",
        rate_store=RateTable(64),
    )

    def post(number: int) -> int:
        body = b"%d " % number * 5000
        if number % 5 == 0:
            body *= 20
        answer = ask(app, method="POST", body=body, accept_encoding="gzip")
        if answer.status == 200:
            assert gzip.decompress(answer.body) == body
        return answer.status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(post, range(1, 121)))
    assert statuses.count(429) == 20
    assert set(statuses) == {200, 413, 429}
