"""The servers that are compared, each with the settings its own manual would recommend here.

All run the same application, without access logs, with uvloop and httptools where they are
installed. A peer's command is data: adding one is adding a row to ``PEERS``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

APP = "benchmarks.app:app"

BEST_ALLOCATOR = {
    # Large blocks straight from mmap, so that freeing one gives it back at once, and whole huge
    # pages, so that touching one costs a few faults instead of two thousand.
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """One way of serving the application.

    Attributes:
        name: what the tables and ``--peers`` call it.
        arguments: the command after ``python -m``, with ``{app}``, ``{port}`` and ``{workers}``.
        workers: processes by default; a benchmark may ask for another number.
        app: the application, where it is not the one of the benchmark.
        environment: variables the server gets besides a clean environment.
        about: one line for the report.
    """

    name: str
    arguments: str
    about: str
    workers: int = 1
    app: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, port: int, *, app: str = APP, workers: int | None = None) -> list[str]:
        """Return the full command that serves *app* on *port* of the loopback interface."""
        filled = self.arguments.format(
            app=self.app or app, port=port, workers=self.workers if workers is None else workers
        )
        return [sys.executable, "-m", *filled.split()]


_UVICORN = (
    "uvicorn {app} --host 127.0.0.1 --port {port} --workers {workers}"
    " --no-access-log --log-level warning --loop auto --http auto"
)
_GUNICORN = (
    "gunicorn {app} --bind 127.0.0.1:{port} --workers {workers} -k asgi"
    " --log-level warning --no-control-socket"
)
_GRANIAN = (
    "granian {app} --interface asgi --host 127.0.0.1 --port {port} --workers {workers}"
    " --no-access-log --log-level warning --respawn-failed-workers --respawn-interval 1"
)
_TONNAGE = "tonnage run {app} --host 127.0.0.1 --port {port}"

PEERS = {
    peer.name: peer
    for peer in (
        Peer("uvicorn", _UVICORN, "uvicorn, one process"),
        Peer("uvicorn2", _UVICORN, "uvicorn, two workers", workers=2),
        Peer("uvicorn-limit", _UVICORN + " --limit-concurrency 50", "uvicorn, at most 50 at once"),
        Peer("gunicorn2", _GUNICORN, "gunicorn with its ASGI worker, two workers", workers=2),
        Peer("gunicorn-preload", _GUNICORN + " --preload", "gunicorn, imported once, then forked"),
        Peer(
            "granian2",
            _GRANIAN + " --workers-max-rss 200 --rss-sample-interval 1",
            "granian, two workers, respawned above 200 MB, looked at each second",
            workers=2,
        ),
        Peer("granian", _GRANIAN, "granian, one worker"),
        Peer(
            "oracle",
            _UVICORN,
            "uvicorn behind a semaphore that knows each request's cost, best allocator settings",
            app="benchmarks.oracle:app",
            environment=BEST_ALLOCATOR,
        ),
        Peer("tonnage", _TONNAGE, "tonnage run, no memory flag: it finds the cgroup"),
        Peer(
            "tonnage-workers", _TONNAGE + " --workers {workers}", "tonnage run, number of workers"
        ),
    )
}
