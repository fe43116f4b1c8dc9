"""Bodies without a length, for WSGI applications behind the server's own limits."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from tests.frameworks.asking import chunked
from tests.support.server import Running

pytestmark = pytest.mark.real

TARGETS = ["flask_app:app", "django_site.wsgi:application"]


@pytest.fixture(scope="module", params=TARGETS)
def server(request: pytest.FixtureRequest, site: dict[str, str]) -> Iterator[Running]:
    """Yield an application within limits; the block's end asserts a clean stop."""
    target = f"tests.frameworks.{request.param}"
    limits = ("--max-body", "64K", "--decompress", "--rate-limit", "1000/1h")
    with Running(target, "--workers", "1", *limits, env=site) as running:
        yield running


def test_chunks_are_counted(server: Running) -> None:
    """Up to the limit they arrive whole; beyond it the refusal is the same as with a length."""
    assert chunked(server, "/count", *[b"a" * 16384] * 4).json() == {"bytes": 65536}
    refused = chunked(server, "/count", *[b"a" * 16384] * 4, b"a")
    assert (refused.status, refused.json()["error"]) == (413, "payload_too_large")
    assert "ratelimit" in refused.headers


def test_what_was_packed_arrives_whole(server: Running) -> None:
    """With a length, or in chunks: what it unpacks to is known only afterwards."""
    packed = gzip.compress(b"what is said often " * 100)
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    assert server.request("POST", "/count", packed, headers).json() == {"bytes": 1900}
    assert chunked(server, "/count", packed[:20], packed[20:], **headers).json() == {"bytes": 1900}
