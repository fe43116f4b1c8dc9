"""Start the demonstration: four backends behind one ``tonnage run``, and all that they need.

    python -m examples.demo                     # what `make run` does
    python -m examples.demo --port 8080         # what follows goes to `tonnage run`

Three of the four have SQLite files in ``data/``. The fourth wants MongoDB: unless ``MONGO_URL``
names one, a package that speaks its protocol over SQLite (nx-27017) is started beside the server,
outside of its memory limit, as databases are. Ctrl-C or SIGTERM ends both: the server as it ends
when it is alone, and then the database.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec

from examples.demo import DATA, HERE


def main() -> int:
    """Run the server to its end; return its exit status."""
    port = None if os.environ.get("MONGO_URL") else free_port()
    if port is not None:
        os.environ["MONGO_URL"] = f"mongodb://127.0.0.1:{port}/eventide"
    # Else Eventide warns of what is as it should be here: log-ins end with the server.
    os.environ.setdefault("EVENTIDE_SECRET", secrets.token_hex(32))
    server = start("-m", "tonnage", "run", *sys.argv[1:])
    # A terminal would send them to all at once, and a second one ends a server at once.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda sent, _: server.send_signal(sent))
    # The server takes longer to start.
    database = None if port is None else start_database(port)
    status = server.wait()
    if database is not None:
        database.terminate()
        database.wait()
    return status


def start_database(port: int) -> subprocess.Popen[bytes] | None:
    """Start what stands in for MongoDB; None: it is not installed."""
    if find_spec("nx_27017") is None:
        print("nx-27017 is not installed: without MongoDB, Eventide answers with 503", flush=True)
        return None
    directory = DATA / "mongodb"
    directory.mkdir(parents=True, exist_ok=True)
    number = directory / "pid"
    number.unlink(missing_ok=True)  # of one that was killed: it would be taken for another's
    # fmt: off
    return start(
        "-c", "from nx_27017.nx_27017 import main; main()", "--port", f"{port}",
        "--data-dir", f"{directory}", "--pid-file", f"{number}", "--log-file", f"{directory}/log",
        output=subprocess.DEVNULL,
    )
    # fmt: on


def start(*words: str, output: int | None = None) -> subprocess.Popen[bytes]:
    """Start Python with *words*, where what the terminal sends does not reach it."""
    return subprocess.Popen(
        [sys.executable, *words], cwd=HERE, process_group=0, stdout=output, stderr=output
    )


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
