"""The limits as frameworks use them, each by a server that knows nothing of Tonnage."""

from __future__ import annotations

import gzip
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.frameworks.path_sites.limits import PIECES, TEXT
from tests.support.server import ROOT, Response, clean_environment
from tests.support.slowness import SLOWNESS
from tests.web.path.uploads.forms import FORM_TYPE, GIF, file_part, form, png

pytestmark = pytest.mark.real

SHOP = "https://shop.example"
DOORS = {
    "fastapi": ("uvicorn", "on_fastapi:app"),
    "flask": ("werkzeug", "on_flask:app"),
    "django-asgi": ("uvicorn", "on_django:asgi"),
    "django-wsgi": ("gunicorn", "on_django:wsgi"),
}


class Site:
    """A running site."""

    def __init__(self, door: str, port: int) -> None:
        self.door = door
        self._port = port

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """Return the answer to one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10 * SLOWNESS)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, found, response.read())
        finally:
            connection.close()


@pytest.fixture(scope="module", params=DOORS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Yield a site, served in a process of its own."""
    command = [sys.executable, "-m", "tests.frameworks.path_sites.serve", *DOORS[request.param]]
    with subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            yield Site(request.param, int(process.stdout.readline()))
        finally:
            process.terminate()


def refused(answer: Response, status: int, error: str) -> dict[str, Any]:
    """Assert that *answer* is a refusal in our shape, and return what it says."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    said: dict[str, Any] = answer.json()
    assert (said["status"], said["error"]) == (status, error)
    return said


def test_a_body_that_is_too_large(site: Site) -> None:
    """By its announced length; an image may be larger, and what fits is read."""
    answer = site.ask("POST", "/echo", b"a" * 2000, Content_Type="text/plain", Origin=SHOP)
    assert refused(answer, 413, "payload_too_large")["maxBytes"] == 1024
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert site.ask("POST", "/echo", b"a" * 2000, Content_Type="image/png").body == b"2000"


@pytest.mark.parametrize("path", ["/echo", "/json"])
def test_a_body_that_turns_out_to_be_too_large(site: Site, path: str) -> None:
    """Without an announced length, also where the framework makes its own error of it."""
    if site.door == "django-wsgi":
        pytest.skip("Django sees no body where WSGI gives it no length")
    # In one piece, since the connection may be closed as soon as the first chunks are there.
    chunks = b"%x\r\n%b\r\n" % (600, b"a" * 600) * 4 + b"0\r\n\r\n"
    headers = {"Content_Type": "application/json", "Transfer_Encoding": "chunked"}
    answer = site.ask("POST", path, chunks, **headers)
    refused(answer, 413, "payload_too_large")


def test_too_many_requests(site: Site) -> None:
    """The one that passes is told what is left, the others when to come again."""
    first, second = (site.ask("GET", "/limited") for _ in range(2))
    assert first.status == 200
    assert ";r=0;" in first.headers["ratelimit"]
    refused(second, 429, "rate_limited")
    assert int(second.headers["retry-after"]) > 3000
    assert ";q=1;w=3600" in second.headers["ratelimit-policy"]


def test_a_request_that_takes_too_long(site: Site) -> None:
    """Where handlers can be ended."""
    if DOORS[site.door][0] != "uvicorn":
        pytest.skip("no time can be kept over WSGI")
    refused(site.ask("GET", "/slow"), 504, "timed_out")


def test_a_response_that_is_too_large(site: Site) -> None:
    """Nothing of it is sent."""
    assert refused(site.ask("GET", "/large"), 500, "response_too_large")["maxBytes"] == 10240


def test_a_response_that_becomes_too_large(site: Site) -> None:
    """It ends without its end, so that the client knows; unless it is said to be a stream."""
    with pytest.raises(http.client.IncompleteRead) as cut:
        site.ask("GET", "/pieces")
    assert len(cut.value.partial) <= 10_240
    assert len(site.ask("GET", "/events").body) == PIECES * 1000


def test_compression(site: Site) -> None:
    """For those who take it."""
    packed = site.ask("GET", "/text", Accept_Encoding="gzip", Origin=SHOP)
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == TEXT.encode()
    assert int(packed.headers["content-length"]) == len(packed.body) < 500
    plain = site.ask("GET", "/text", Accept_Encoding="identity")
    assert plain.body == TEXT.encode()
    for answer in (packed, plain):
        assert "x-powered-by" not in answer.headers


def test_an_upload_that_is_refused(site: Site) -> None:
    """By the application's own rules: the error that it lets out is answered as what it is."""
    kind = FORM_TYPE.decode()
    good = site.ask("POST", "/upload", form(file_part("photo", "a.png", png())), Content_Type=kind)
    assert good.status == 200, good
    assert b"image/png" in good.body
    bad = site.ask("POST", "/upload", form(file_part("photo", "a.png", GIF)), Content_Type=kind)
    refused(bad, 415, "unsupported_media_type")


def test_an_error_of_the_application_stays_its_own(site: Site) -> None:
    """After a refusal too: what was noted is the request's."""
    kind = "application/json"
    assert site.ask("POST", "/json", json.dumps({"a": "b"}), Content_Type=kind).body == b"1"
    broken = site.ask("POST", "/json", b"{", Content_Type=kind)
    assert broken.headers["content-type"] != "application/problem+json"
