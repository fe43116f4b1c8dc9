"""A webhook's other end: keeps what it gets, answers what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any

from tonnage.settings import ReportSettings


class Receiver:
    """What came, in order, and what is answered next (200 once that is used up)."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.statuses: list[int] = []
        self.answer_headers: dict[str, str] = {}
        # While clear, nothing is answered.
        self.answering = threading.Event()
        self.answering.set()
        self.port = 0

    @property
    def url(self) -> str:
        """Return an address with a secret in it."""
        return f"http://127.0.0.1:{self.port}/services/s3cret?key=s3cret"

    @property
    def texts(self) -> list[str]:
        """Return the texts that came."""
        return [each["text"] for each in self.got]


@contextmanager
def receiving(tls: SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver on a free port of the loopback address, behind *tls* if that is given."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append(json.loads(body))
            receiver.heads.append({name.lower(): value for name, value in self.headers.items()})
            receiver.paths.append(self.path)
            receiver.answering.wait()
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
            for name, value in receiver.answer_headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_port
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.answering.set()
            server.shutdown()
            thread.join()


def reports(
    url: str | None, *, alert_format: Any = "auto", alert_seconds: float = 0.0
) -> ReportSettings:
    """Return settings as the command line would make them."""
    return ReportSettings(
        report_dir=None,
        state_dir=None,
        reports=20,
        leak_report=False,
        alert_url=url,
        alert_format=alert_format,
        alert_seconds=alert_seconds,
    )
