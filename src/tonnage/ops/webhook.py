"""The webhook: its address, what alerts look like there, and one POST.

:class:`Webhook` checks the address when the server starts, so that a mistake is not found in the
night when it matters. The address is a secret (whoever has it can write to that place): only
scheme and host are shown, here and in every message.

A POST has one deadline for all of it, reads no more of the answer than its head, follows no
redirect and uses no proxy. It is written on a socket and httptools, which the server has anyway:
``http.client`` was measured at 4 MB more, most of it ``email``.

Does not try again (:mod:`tonnage.ops.alertsender`) nor decide what an answer means
(:mod:`tonnage.ops.alertpolicy`).
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from ssl import SSLContext

    from tonnage.ops.alertpolicy import Alert
    from tonnage.settings import ReportSettings

#: The head of an answer may be this long.
LONGEST_ANSWER_BYTES: Final = 16 * 1024
_SLACK_HOST: Final = "hooks.slack.com"
_PORTS: Final = {"http": 80, "https": 443}
# What Slack takes for markup in a text: https://api.slack.com/reference/surfaces/formatting
_SLACK_ESCAPES: Final = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where alerts go, and in which form."""

    scheme: str
    host: str
    port: int
    form: Literal["json", "slack"]
    # What follows may be secret.
    host_header: str = field(repr=False)
    path: str = field(repr=False)
    authorization: str | None = field(repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"

    @classmethod
    def from_settings(cls, reports: ReportSettings, origin: str = "TONNAGE_ALERT_URL") -> Webhook:
        """Return the webhook that the settings name.

        Args:
            reports: the settings.
            origin: how a message should call the option.

        Raises:
            ConfigError: the address cannot be used; it is not repeated in the message.
        """
        # Only here: not every Python version has imported it by now.
        from urllib.parse import unquote, urlsplit

        url = (reports.alert_url or "").strip()
        if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
            raise ConfigError(
                f"{origin} holds blanks or characters beyond ASCII: write them percent-encoded"
            )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or host.startswith(".") or parts.scheme not in _PORTS or port == 0:
            raise ConfigError(f"{origin} is no address of a webhook: write https://HOST/PATH")
        login, _, host_header = parts.netloc.rpartition("@")
        return cls(
            scheme=parts.scheme,
            host=host,
            port=port or _PORTS[parts.scheme],
            form=_form(reports.alert_format, host),
            host_header=host_header,
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            authorization=_basic(unquote(login)) if login else None,
        )

    def look_up(self) -> list[Any]:
        """Return the addresses of the host, as :func:`socket.getaddrinfo` has them.

        Takes as long as the resolver's own settings allow; there is no other way to bound it.

        Raises:
            OSError: it has none, or nobody answers.
        """
        # As bytes: a text would go through the IDNA codec, whose tables are large.
        host = self.host.encode("ascii")
        return socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)

    def body(self, alert: Alert, server: str) -> bytes:
        """Return *alert* in the form that the receiver understands."""
        host = os.uname().nodename
        said = _slack(alert, server, host) if self.form == "slack" else _plain(alert, server, host)
        return json.dumps(said).encode()

    def request(self, body: bytes) -> bytes:
        """Return the whole HTTP request that carries *body*."""
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host_header}",
            "User-Agent: tonnage",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        if self.authorization is not None:
            lines.append(f"Authorization: {self.authorization}")
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answered: the status, and Retry-After as it stood there."""

    status: int
    retry_after: str = ""


class Poster:
    """Sends to one webhook. All that it needs is imported and opened when it is made."""

    def __init__(self, webhook: Webhook) -> None:
        import httptools

        self._webhook = webhook
        self._parser: Any = httptools.HttpResponseParser
        # Nobody has asked for another protocol.
        self._broken = httptools.HttpParserError, httptools.HttpParserUpgrade
        self._context: SSLContext | None = None
        if webhook.scheme == "https":
            # Only here: OpenSSL is 3 MB.
            import ssl

            self._context = ssl.create_default_context()

    def post(self, body: bytes, timeout_seconds: float) -> Reply:
        """Send *body*, and return the answer.

        Raises:
            OSError: there was none in time, or none that is HTTP (a broken TLS counts as well).
        """
        deadline = time.monotonic() + timeout_seconds
        with closing(self._connect(deadline)) as connection:
            _limit(connection, deadline)
            connection.sendall(self._webhook.request(body))
            return self._read(connection, deadline)

    def _connect(self, deadline: float) -> socket.socket:
        webhook = self._webhook
        found = webhook.look_up()
        failure: OSError = TimeoutError("the name has no address")
        for index, (family, kind, protocol, _, address) in enumerate(found):
            connection = socket.socket(family, kind, protocol)
            try:
                # An address that swallows packets must leave time for the next one.
                _limit(connection, deadline, among=len(found) - index)
                connection.connect(address)
                _limit(connection, deadline)
                if self._context is None:
                    return connection
                return self._context.wrap_socket(connection, server_hostname=webhook.host.encode())
            except OSError as error:
                connection.close()
                failure = error
        raise failure

    def _read(self, connection: socket.socket, deadline: float) -> Reply:
        head = _Head()
        parser = self._parser(head)
        head.status_of = parser.get_status_code
        received = 0
        while head.reply is None:
            _limit(connection, deadline)
            data = connection.recv(4096)
            received += len(data)
            if not data or received > LONGEST_ANSWER_BYTES:
                raise ConnectionError("the answer ended early" if not data else "too long a head")
            try:
                parser.feed_data(data)
            except self._broken as error:
                raise ConnectionError("the answer is no HTTP") from error
        return head.reply


class _Head:
    """Takes from a response what we want to know; httptools calls it."""

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.status_of: Any = None
        self._retry_after = ""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self.status_of()
        # What is below 200 only precedes the answer.
        if self.reply is None and status >= 200:
            self.reply = Reply(status, self._retry_after)


def _limit(connection: socket.socket, deadline: float, among: int = 1) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    connection.settimeout(left / among)


def _form(chosen: Literal["auto", "json", "slack"], host: str) -> Literal["json", "slack"]:
    if chosen == "auto":
        return "slack" if host == _SLACK_HOST else "json"
    return chosen


def _basic(login: str) -> str:
    from binascii import b2a_base64

    return "Basic " + b2a_base64(login.encode(), newline=False).decode()


def _text(alert: Alert) -> str:
    return f"{alert.text} (and {alert.more} more like it)" if alert.more else alert.text


def _plain(alert: Alert, server: str, host: str) -> dict[str, Any]:
    return {
        "event": alert.event,
        "text": _text(alert),
        "level": alert.level,
        "server": server,
        "host": host,
        "time": alert.time,
        "id": alert.id,
        "more": alert.more,
        "fields": alert.fields,
    }


def _slack(alert: Alert, server: str, host: str) -> dict[str, Any]:
    lines = [f"{alert.event} · {server} on {host}: {_text(alert)}"]
    lines += [
        f"{name}: {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in alert.fields.items()
    ]
    return {"text": "\n".join(lines).translate(_SLACK_ESCAPES)}
