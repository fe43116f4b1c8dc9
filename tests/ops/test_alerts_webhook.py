"""The webhook's address, the forms of an alert, and one POST, to receivers good and bad."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.ops.receiver import receiving, reports
from tests.support.certificate import localhost

from tonnage.errors import ConfigError
from tonnage.ops.alertpolicy import CRITICAL, make_alert
from tonnage.ops.webhook import LONGEST_ANSWER_BYTES, Poster, Webhook

ALERT = replace(
    make_alert(
        CRITICAL,
        "used 471 MB of 512 MB & rising <fast>",
        {"level": "CRITICAL", "used_bytes": 493879296, "route": "GET /report"},
        id="ab12-7",
        now_seconds=0.0,
    ),
    time="2026-11-22T05:00:00.000+00:00",
    more=3,
)


@contextmanager
def answering(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """Accept one connection, read the request, and let *talk* answer; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with ExitStack() as stack:
                connection = stack.enter_context(listening.accept()[0])
                connection.recv(65536)
                # The client may be gone already.
                try:
                    talk(connection)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        thread.join()


def poster(url: str) -> Poster:
    """Return what sends to *url*."""
    return Poster(Webhook.from_settings(reports(url)))


@pytest.mark.parametrize(
    ("url", "port", "path", "form"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", 443, "/services/T0/B0/x", "slack"),
        ("http://example.org", 80, "/", "json"),
        ("https://[::1]:8443/a?b=c#d", 8443, "/a?b=c", "json"),
    ],
)
def test_addresses_are_understood(url: str, port: int, path: str, form: str) -> None:
    """Port and path have defaults, and Slack's host its own form."""
    webhook = Webhook.from_settings(reports(url))
    assert (webhook.port, webhook.path, webhook.form) == (port, path, form)


def test_the_form_can_be_chosen() -> None:
    """Mattermost, Rocket.Chat and others take Slack's form under their own names."""
    settings = reports("https://chat.example.org/hooks/x", alert_format="slack")
    assert Webhook.from_settings(settings).form == "slack"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.slack.com/services/s3cret",
        "ftp://example.org/s3cret",
        "https:///s3cret",
        "https://example.org:99999/s3cret",
        "https://example.org:0/s3cret",
        "https://[::1/s3cret",
        "https://.example.org/s3cret",
        "https://example.org/s3cret path",
        "https://example.org/s3cret\r\nX-Evil: 1",
        "https://exämple.org/s3cret",
    ],
)
def test_an_address_without_sense_is_refused_without_being_repeated(url: str) -> None:
    """The message says what to write, and keeps the secret."""
    with pytest.raises(ConfigError) as raised:
        Webhook.from_settings(reports(url), "alert_url in pyproject.toml")

    assert str(raised.value).startswith("alert_url in pyproject.toml")
    assert "write" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_only_scheme_and_host_are_shown() -> None:
    """Neither in a message nor in a repr is the rest, a password included."""
    webhook = Webhook.from_settings(reports("https://bob:s3cret@example.org/s3cret?s3cret"))
    assert str(webhook) == "https://example.org"
    assert "s3cret" not in repr(webhook)


def test_a_password_in_the_address_is_sent_as_a_header() -> None:
    """Percent-encoding is undone; the Host header has none of it."""
    webhook = Webhook.from_settings(reports("https://bob:p%40ss@example.org:444/x"))
    request = webhook.request(b"{}")
    assert b"\r\nAuthorization: Basic Ym9iOnBAc3M=\r\n" in request
    assert b"\r\nHost: example.org:444\r\n" in request


def test_the_json_form_has_the_documented_keys() -> None:
    """Text for people, figures for machines."""
    body = Webhook.from_settings(reports("http://example.org")).body(ALERT, "api")

    assert json.loads(body) == {
        "event": "memory.critical",
        "text": "used 471 MB of 512 MB & rising <fast> (and 3 more like it)",
        "level": "CRITICAL",
        "server": "api",
        "host": os.uname().nodename,
        "time": "2026-11-22T05:00:00.000+00:00",
        "id": "ab12-7",
        "more": 3,
        "fields": {"used_bytes": 493879296, "route": "GET /report"},
    }


def test_the_slack_form_is_one_text_without_markup() -> None:
    """A path such as <!channel> must not call everybody."""
    body = Webhook.from_settings(reports("https://hooks.slack.com/x")).body(ALERT, "api")

    assert json.loads(body) == {
        "text": f"memory.critical · api on {os.uname().nodename}: used 471 MB of 512 MB &amp; "
        "rising &lt;fast&gt; (and 3 more like it)\nused_bytes: 493879296\nroute: GET /report"
    }


def test_a_post_returns_status_and_retry_after() -> None:
    """And has sent type, length and body as HTTP wants them."""
    with receiving() as receiver:
        receiver.statuses, receiver.answer_headers = [429], {"Retry-After": "7"}
        reply = poster(receiver.url).post(b'{"text":"x"}', 2.0)

    assert (reply.status, reply.retry_after) == (429, "7")
    assert receiver.paths == ["/services/s3cret?key=s3cret"]
    assert receiver.heads[0]["content-type"] == "application/json"
    assert receiver.heads[0]["host"] == f"127.0.0.1:{receiver.port}"


def test_a_redirect_is_not_followed() -> None:
    """What stands in the alert goes where the user said, and nowhere else."""
    with receiving() as elsewhere, receiving() as receiver:
        receiver.statuses, receiver.answer_headers = [307], {"Location": elsewhere.url}
        reply = poster(receiver.url).post(b"{}", 2.0)

    assert reply.status == 307
    assert elsewhere.got == []


def test_what_precedes_the_answer_is_skipped() -> None:
    """103 Early Hints is no answer."""
    said = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    with answering(lambda connection: connection.sendall(said)) as url:
        assert poster(url).post(b"{}", 2.0).status == 204


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(lambda connection: None, id="closes at once"),
        pytest.param(lambda connection: connection.sendall(b"220 mail.example\r\n\r\n"), id="SMTP"),
        pytest.param(
            lambda connection: connection.sendall(
                b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * LONGEST_ANSWER_BYTES
            ),
            id="endless head",
        ),
        pytest.param(
            lambda connection: connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
            ),
            id="another protocol",
        ),
    ],
)
def test_what_is_no_answer_is_an_error(talk: Callable[[socket.socket], Any]) -> None:
    """One kind of error, which is tried again."""
    with answering(talk) as url, pytest.raises(OSError, match=r"ended early|no HTTP|too long"):
        poster(url).post(b"{}", 2.0)


def test_a_receiver_that_is_silent_is_left_at_the_deadline() -> None:
    """It has the request, and says nothing until we go."""
    begun = time.monotonic()
    with answering(lambda connection: connection.recv(1)) as url, pytest.raises(TimeoutError):
        poster(url).post(b"{}", 0.1)
    assert time.monotonic() - begun < 1.5


def test_a_receiver_that_trickles_is_left_at_the_deadline() -> None:
    """The time is that of the whole, not of each byte."""

    def trickle(connection: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"x" * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.005)

    begun = time.monotonic()
    with answering(trickle) as url:
        with pytest.raises(TimeoutError):
            poster(url).post(b"{}", 0.1)
        assert time.monotonic() - begun < 2.0


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Return what a server named localhost needs; its certificate is trusted."""
    context, certificate = localhost(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return context


def test_a_certificate_that_is_trusted_is_enough(tls: ssl.SSLContext) -> None:
    """What is read and written goes through TLS."""
    with receiving(tls) as receiver:
        reply = poster(f"https://localhost:{receiver.port}/x").post(b'{"text":"x"}', 2.0)

    assert reply.status == 200
    assert receiver.texts == ["x"]


def test_a_certificate_of_another_name_is_refused(tls: ssl.SSLContext) -> None:
    """Before a byte of the alert is sent."""
    with receiving(tls) as receiver, pytest.raises(ssl.SSLCertVerificationError):
        poster(f"https://127.0.0.1:{receiver.port}/x").post(b'{"text":"x"}', 2.0)

    assert receiver.got == []


def test_nobody_listening_is_an_error() -> None:
    """Refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        poster(f"http://127.0.0.1:{port}").post(b"{}", 2.0)
