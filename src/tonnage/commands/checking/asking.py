"""HTTP for the check of a deployed server: one request, one connection, within bounds.

Promises: an answer or the reason why there is none comes within :data:`DEADLINE_SECONDS`, however
slowly the server sends (resolving its name, which the system does, comes on top). Of a body
:data:`MOST_BODY_BYTES` are read. Redirects are told, not followed; proxies of the environment are
not used; certificates are verified. The standard library's client, so that nothing is to be
installed.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from tonnage.commands.checking.sitefacts import Reply
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE_SECONDS: Final = 5.0
MOST_BODY_BYTES: Final = 256 * 1024

_AGENT: Final = {"user-agent": "tonnage-check", "accept": "*/*"}


class Asker:
    """Asks one server.

    Args:
        url: the server's, as in ``https://shop.example``; what follows the host is put before
            every path.
        deadline_seconds: for each answer.

    Raises:
        ConfigError: it is no URL of a web server.
    """

    def __init__(self, url: str, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._parts = _read(url)
        self._deadline_seconds = deadline_seconds

    @property
    def is_encrypted(self) -> bool:
        """Whether the server is asked by https."""
        return self._parts.scheme == "https"

    @property
    def host(self) -> str:
        """The server's name or address."""
        return self._parts.hostname or ""

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine."""
        return self.host == "localhost" or _is_loopback(self.host)

    def ask(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        announced_bytes: int | None = None,
    ) -> Reply:
        """Return the answer to a request for *path*.

        Args:
            path: below the server's URL.
            headers: names and values besides the usual ones.
            method: of the request.
            announced_bytes: the length of a body that is announced and never sent.
        """
        kind = http.client.HTTPSConnection if self.is_encrypted else http.client.HTTPConnection
        connection = kind(self.host, self._parts.port, timeout=self._deadline_seconds)
        return self._exchange(connection, method, path, headers, announced_bytes)

    def ask_unencrypted(self, path: str) -> Reply:
        """Return the answer of the same host by plain http, on its usual port."""
        connection = http.client.HTTPConnection(self.host, 80, timeout=self._deadline_seconds)
        return self._exchange(connection, "GET", path, None, None)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        announced_bytes: int | None,
    ) -> Reply:
        told = {**_AGENT, **(headers or {})}
        if announced_bytes is not None:
            told |= {"content-length": str(announced_bytes), "content-type": "application/json"}
        asked_seconds, was_cut = time.monotonic(), threading.Event()
        guard = threading.Timer(self._deadline_seconds, _cut, [connection, was_cut])
        guard.daemon = True
        guard.start()
        try:
            connection.connect()
            if was_cut.is_set():
                # While the name was looked up there was nothing to cut.
                raise TimeoutError
            is_loopback = _is_loopback(connection.sock.getpeername()[0])
            # Written one by one, http.client adds no length of its own.
            connection.putrequest(method, self._parts.path.rstrip("/") + path)
            for name, value in told.items():
                connection.putheader(name, value)
            connection.endheaders()
            reply = replace(_read_reply(connection, asked_seconds), is_loopback=is_loopback)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # A connection that was cut in the middle of TLS has lost attributes that are needed.
            reply = Reply(0, error=_why(error, self._deadline_seconds))
        finally:
            guard.cancel()
            guard.join()
            connection.close()
        # A head that was cut looks like one that has ended, and a cut may come as any error.
        return Reply(0, error=_late(self._deadline_seconds)) if was_cut.is_set() else reply


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or parts.username or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is not the URL of a server: write https://shop.example")
    return parts


def _read_reply(connection: http.client.HTTPConnection, asked_seconds: float) -> Reply:
    with connection.getresponse() as response:
        is_kept = not response.will_close
        body = response.read(MOST_BODY_BYTES)
        headers = tuple((name.lower(), value) for name, value in response.getheaders())
        now_seconds = time.monotonic()
        return Reply(response.status, headers, body, asked_seconds, now_seconds, is_kept)


def _cut(connection: http.client.HTTPConnection, was_cut: threading.Event) -> None:
    """End *connection* under whoever reads from it; a time-out would begin anew with each byte."""
    was_cut.set()
    with suppress(OSError, AttributeError):
        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _why(error: Exception, deadline_seconds: float) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is refused: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "the name leads nowhere"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused"
    if isinstance(error, (TimeoutError, http.client.RemoteDisconnected, AttributeError)):
        return _late(deadline_seconds)
    return str(error) or type(error).__name__


def _late(deadline_seconds: float) -> str:
    return f"no answer within {deadline_seconds:g} s, or the connection was closed"
