"""Clients of the reference backends, each with limits of its own.

A backend allows 100 requests in 15 minutes to an address, and a file of tests asks more often. So
it is started as behind a proxy (``--proxy-hops 1``), and each client comes from another address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import count

from tests.support.server import Response, Running, connection_to, exchange

BEHIND_A_PROXY = ("--proxy-hops", "1")

_numbers = count(1)


class Client:
    """Somebody at an address that nobody else has."""

    def __init__(self, server: Running) -> None:
        number = next(_numbers)
        self.server = server
        self.headers = {"x-forwarded-for": f"198.51.{number >> 8}.{number & 255}"}

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request and return the whole answer."""
        return self.server.request(method, path, body, self.headers | dict(headers or {}))

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Ask for *path*."""
        return self.ask("GET", path, headers=headers)

    def announce(
        self, method: str, path: str, length_bytes: int, headers: Mapping[str, str]
    ) -> Response:
        """Say how long a body will be, send none of it, and return the answer that comes."""
        told = self.headers | {"content-length": str(length_bytes)} | dict(headers)
        with connection_to(self.server.url, 20.0) as connection:
            return exchange(connection, method, path, headers=told)

    @contextmanager
    def begin(self, method: str, path: str, headers: Mapping[str, str]) -> Iterator[HTTPConnection]:
        """Send the head of a request; its body and its answer are the caller's."""
        with connection_to(self.server.url, 20.0) as connection:
            connection.putrequest(method, path)
            for name, value in (self.headers | dict(headers)).items():
                connection.putheader(name, value)
            connection.endheaders()
            yield connection
