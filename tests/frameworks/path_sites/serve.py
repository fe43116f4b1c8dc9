"""Serve one of the sites with a server that knows nothing of Tonnage, on a free port.

    python -m tests.frameworks.path_sites.serve uvicorn on_fastapi:app

Prints the port. SIGTERM ends it.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from typing import Any

_PACKAGE = "tests.frameworks.path_sites"


def main(server: str, target: str) -> None:
    """Serve *target* until a signal comes."""
    listener = socket.create_server(("127.0.0.1", 0))
    # Whoever connects from now on waits in the backlog until the site is imported.
    print(listener.getsockname()[1], flush=True)
    if server == "gunicorn":
        os.set_inheritable(listener.fileno(), True)
        options = ["--bind", f"fd://{listener.fileno()}", "--threads", "4", "--no-control-socket"]
        command = [sys.executable, "-m", "gunicorn", *options, f"{_PACKAGE}.{target}"]
        os.execv(sys.executable, command)
    module, _, name = target.partition(":")
    app: Any = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)
    if server == "uvicorn":
        import uvicorn

        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
    else:
        from werkzeug.serving import WSGIRequestHandler, make_server

        # As a server that keeps connections, so that a cut can be told from an end.
        WSGIRequestHandler.protocol_version = "HTTP/1.1"
        port = listener.getsockname()[1]
        make_server("127.0.0.1", port, app, threaded=True, fd=listener.fileno()).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
