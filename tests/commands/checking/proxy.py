"""A proxy on the server's own machine that says nothing of whom it asks for."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def silent_proxy(port: int) -> Iterator[str]:
    """Yield the URL of one before the server on *port*: as nginx is with a bare ``proxy_pass``.

    It passes headers on and adds none; ``Host`` says whom it asks, and ``Server`` who it is.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = dict(self.headers.items())
            headers["Host"] = f"127.0.0.1:{port}"
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as behind:
                behind.request(self.command, self.path, headers=headers)
                answer = behind.getresponse()
                body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("server", "date", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the base class asks for it by this name

        def log_message(self, *parts: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        serving = Thread(target=proxy.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            serving.join()
