"""What all of operations weighs: a server that nobody looks at, and one that everybody does.

Used means: live pages are open, metrics are scraped once a second in both forms, and a terminal
shows the live view over the control socket. Cases take turns; each has the same requests first.
``--before`` adds a third: the sources of another version, such as one from before there were any.
Sizes are those of each process by itself (``smaps_rollup``), and the table's the rounds' median.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import options
from benchmarks.box import MemoryBox
from benchmarks.memory import tree_kilobytes
from benchmarks.peers import PEERS
from benchmarks.record import Result, machine
from benchmarks.server import Server
from tonnage.server.control import control_path, server_name
from tonnage.units import format_bytes

SUMMARY = "MB of a worker and of the supervisor: nobody looks, and all of operations is used"

REQUESTS = 400
EVERY_SECONDS = 1.0
SCRAPED = ("/metrics", "/tonnage/metrics.json", "/health/memory")

# By role: PSS and private memory in KB.
Weight = dict[str, tuple[float, float]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_limit(parser)
    parser.add_argument("--seconds", type=float, default=30, help="how long all is used")
    parser.add_argument("--rounds", type=int, default=3, help="turns each case gets")
    parser.add_argument("--pages", type=int, default=5, help="live pages that are open")
    parser.add_argument("--before", type=Path, metavar="DIR", help="a checkout to compare with")


def run(chosen: argparse.Namespace) -> Result:
    """Weigh each case in turns."""
    before = machine()
    cases = [*(["before"] if chosen.before else []), "nobody looks", "all used"]
    found: dict[str, list[Weight]] = {case: [] for case in cases}
    for number in range(chosen.rounds):
        for case in cases if number % 2 == 0 else cases[::-1]:
            found[case].append(_weigh(case, chosen))
            print(number + 1, case, found[case][-1], flush=True)
    first = _medians(found[cases[0]])
    return Result(
        name="operations",
        title=f"memory of a server with 2 workers after {REQUESTS} requests and {chosen.seconds:g}"
        f" s, limit {format_bytes(chosen.limit)}",
        columns=[
            "case",
            *(f"{role} {what} MB" for role in first for what in ("PSS", "private")),
            *(f"{role}: more" for role in first),
        ],
        rows=[_row(case, _medians(found[case]), first) for case in cases],
        notes=[
            f"all used: {chosen.pages} live pages open, {', '.join(SCRAPED)} once a second, and"
            " the state read over the control socket as often, as tonnage top does.",
            "worker: the mean of both. more: private memory beyond the first case's, which the"
            f" bounds of 3 MB for a worker and 8 MB for the supervisor are for; first case:"
            f" {cases[0]}.",
        ],
        machine=before,
        details={"kilobytes": found},
    )


def _weigh(case: str, chosen: argparse.Namespace) -> Weight:
    """Return what the processes of one server weigh."""
    peer = PEERS["tonnage-workers"]
    if case == "before":
        paths = (chosen.before, chosen.before / "src")
        path = os.pathsep.join(os.fspath(each.resolve()) for each in paths)
        peer = replace(peer, environment=peer.environment | {"PYTHONPATH": path})
    with MemoryBox(chosen.limit) as box, Server(peer, box, workers=2) as server:
        for number in range(REQUESTS):
            server.get("/" if number % 4 else "/work?mb=1&ms=1")
        with _used(server, chosen.pages if case == "all used" else 0):
            time.sleep(chosen.seconds)
            return _weights(server, box)


def _weights(server: Server, box: MemoryBox) -> Weight:
    workers = {each["pid"] for each in _memory_of(server)["workers"]}
    roles = {
        "worker": sorted(workers),
        "supervisor": [server.process.pid],
        "zygote": sorted(set(box.pids) - workers - {server.process.pid}),
    }
    return {role: _mean(pids) for role, pids in roles.items()}


def _memory_of(server: Server) -> dict[str, list[dict[str, int]]]:
    import json

    found: dict[str, list[dict[str, int]]] = json.loads(server.get("/health/memory")[1])
    return found


def _mean(pids: list[int]) -> tuple[float, float]:
    sums, count = tree_kilobytes(pids), max(1, len(pids))
    return sums["Pss"] / count, (sums["Private_Clean"] + sums["Private_Dirty"]) / count


def _medians(weights: list[Weight]) -> Weight:
    return {
        role: (
            statistics.median(each[role][0] for each in weights),
            statistics.median(each[role][1] for each in weights),
        )
        for role in weights[0]
    }


def _row(case: str, weight: Weight, first: Weight) -> list[str]:
    sizes = [f"{size / 1024:.2f}" for pair in weight.values() for size in pair]
    more = [f"{(weight[role][1] - first[role][1]) / 1024:+.2f}" for role in weight]
    return [case, *sizes, *more]


# Those who look.


@contextmanager
def _used(server: Server, pages: int) -> Iterator[None]:
    """Have *pages* open and all the rest used meanwhile; 0: nobody looks."""
    over, failures = threading.Event(), list[str]()
    lookers: list[Callable[[], None]] = [lambda: _keep_page_open(server, over)] * pages
    if pages:
        lookers += [lambda: _scrape(server, over), lambda: _show_live(server, over)]

    def carry_out(look: Callable[[], None]) -> None:
        try:
            look()
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=carry_out, args=(look,)) for look in lookers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise RuntimeError(f"operations could not be used: {', '.join(sorted(set(failures)))}")


def _keep_page_open(server: Server, over: threading.Event) -> None:
    """Load what a browser loads, and read the stream of states until all is over."""
    for path in ("/tonnage", "/tonnage/page.js", "/tonnage/page.css", "/tonnage/history"):
        _expect(server.get(path, 10)[0], path)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/tonnage/live", headers={"Accept": "text/event-stream"})
    response = connection.getresponse()
    _expect(response.status, "/tonnage/live")
    while not over.is_set() and response.readline():
        pass
    connection.close()


def _scrape(server: Server, over: threading.Event) -> None:
    while not over.wait(EVERY_SECONDS):
        for path in SCRAPED:
            _expect(server.get(path, 10)[0], path)


def _show_live(server: Server, over: threading.Event) -> None:
    """Read the state as the terminal's live view does."""
    path = control_path(server_name(("127.0.0.1", server.port)), os.environ)
    while not over.wait(EVERY_SECONDS):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(10)
            asking.connect(os.fspath(path))
            asking.sendall(b"GET /tonnage/state HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := asking.recv(65536):
                answer += piece
        _expect(int(answer.split(b" ", 2)[1]), "the control socket")


def _expect(status: int, what: str) -> None:
    if status != 200:
        raise RuntimeError(f"{what} answers {status}")
