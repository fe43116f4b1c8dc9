"""The loads of the start page: visitors who ask this server for half a minute, each as it is named.

    python -m examples.demo.loads large 8000 30 tally.json

A process of its own, as visitors are, of the standard library alone: 13 MB. Each visitor has an
address (127.0.1.1, 127.0.1.2, ...), so that limits by address see many people, and sends one
request after the other; whoever is refused comes back when ``Retry-After`` says. What has become of
the requests is written into the file four times a second.

Bounds: 60 visitors, 30 seconds, then nobody waits for an answer any more. Who begins and stops a
load is :mod:`examples.demo.control`.
"""

from __future__ import annotations

import json
import random
import signal
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path

MOST_SECONDS = 30
TALLY_SECONDS = 0.25
REFUSED = (429, 503)


class Tally:
    """What has become of the requests, each counted once, by whichever thread."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(("answered", "refused", "failed"), 0)
        self._lock = threading.Lock()

    def add(self, outcome: str) -> None:
        """Count one more."""
        with self._lock:
            self._counts[outcome] += 1

    def write(self, path: Path, **about: str | float) -> None:
        """Write it, whole: somebody may be reading it."""
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps({**about, **self._counts}))
        unfinished.replace(path)


class Visitor:
    """Somebody with an address, who goes when it is *over*."""

    def __init__(self, number: int, port: int, tally: Tally, over: threading.Event) -> None:
        self.random = random.Random(number)
        self._address = f"127.0.1.{number}"
        self._port = port
        self._tally = tally
        self._over = over

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes | None:
        """Return the content of the answer; None: it was refused, or there was none."""
        try:
            status, retry_after, content = self._exchange(method, path, body, dict(headers or {}))
        except ConnectionRefusedError:
            self._over.set()  # the server has ended
            sys.exit()
        except (OSError, HTTPException):
            self._tally.add("failed")
            self.pause(1)
            return None
        if status in REFUSED:
            self._tally.add("refused")
            self.pause(float(retry_after or 1))
            return None
        self._tally.add("answered" if status < 400 else "failed")
        return content if status < 400 else None

    def pause(self, seconds: float) -> None:
        """Do nothing for so long."""
        if self._over.wait(seconds):
            sys.exit()  # ends this thread

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str | None, bytes]:
        made = HTTPConnection("127.0.0.1", self._port, source_address=(self._address, 0))
        with closing(made) as connection:
            connection.request(method, path, body, {"Connection": "close", **headers})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Retry-After"), answer.read()


def look_around(visitor: Visitor) -> None:
    """Look at something, of one of the four; of each fifth, tell LvlUp of a move in a game."""
    number = visitor.random.randint(1, 2000)
    today = datetime.now(UTC).date()
    if visitor.random.random() < 0.2:
        move = [{"player": f"player-{number}", "name": "move"}]
        visitor.ask("POST", "/lvlup/games/chess/events", json.dumps(move).encode(), JSON)
    else:
        paths = (
            "/fitflix/plans",
            "/fitflix/events?limit=50",
            f"/fitflix/events/{number}",
            f"/lvlup/games/chess/days/{today}",
            "/fibuca/",
            "/eventide/events?city=Lisbon",
            f"/eventide/events/{number}",
        )
        visitor.ask("GET", visitor.random.choice(paths))
    visitor.pause(visitor.random.uniform(0.1, 0.5))


def take_much(visitor: Visitor) -> None:
    """Ask for something that takes 24 MB for a moment."""
    visitor.ask("GET", "/work?mb=24&ms=700")


def leave_some(visitor: Visitor) -> None:
    """Ask a route that keeps 256 KB of each request for ever."""
    visitor.ask("GET", "/leak?kb=256")
    visitor.pause(0.1)


def become_member(visitor: Visitor) -> None:
    """Join Fibuca, send a photo, wait for the portrait, take the card, and leave again."""
    member = visitor.ask("POST", "/fibuca/members", b"name=Asha+Raman", FORM)
    if member is None:
        return
    key = {"X-Member-Key": json.loads(member)["key"]}
    answer = visitor.ask(
        "POST", "/fibuca/me/photo", portrait(), {"Content-Type": "image/png", **key}
    )
    while answer is not None and json.loads(answer)["status"] in ("waiting", "running"):
        visitor.pause(0.5)
        job = json.loads(answer)["id"]
        answer = visitor.ask("GET", f"/fibuca/me/photo/jobs/{job}", headers=key)
    if answer is not None:
        visitor.ask("GET", "/fibuca/me/card.png", headers=key)
    visitor.ask("DELETE", "/fibuca/me", headers=key)


@dataclass(frozen=True, slots=True)
class Load:
    """So many visitors who do the same again and again."""

    visitors: int
    visit: Callable[[Visitor], None]


LOADS = {
    "crowd": Load(40, look_around),
    "large": Load(60, take_much),
    "photos": Load(6, become_member),
    "leak": Load(8, leave_some),
}

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@cache
def portrait(width: int = 480, height: int = 640) -> bytes:
    """Return a photo of somebody as a PNG: drawn, a head and shoulders before a light wall."""
    wall, shirt, skin, hair = (
        bytes.fromhex(each) for each in ("dfe9f2", "1d2b4f", "8d5a3f", "2b1c14")
    )
    # Ellipses: where their middle is, and half their size, as shares of width and height.
    shapes = (
        (shirt, 0.5, 1.02, 0.36, 0.34),
        (skin, 0.5, 0.66, 0.09, 0.12),
        (hair, 0.5, 0.38, 0.19, 0.2),
        (skin, 0.5, 0.44, 0.15, 0.18),
    )
    rows = bytearray()
    for y in range(height):
        row = bytearray(wall * width)
        for colour, x, middle, half_width, half_height in shapes:
            inside = 1 - ((y / height - middle) / half_height) ** 2
            half = int(width * half_width * max(0.0, inside) ** 0.5)
            left = int(width * x) - half
            row[3 * left : 3 * (left + 2 * half)] = colour * (2 * half)
        rows += b"\0" + row  # 0: not filtered
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def run(name: str, port: int, seconds: float, path: Path) -> None:
    """Have the visitors of *name* ask for *seconds*, or until SIGTERM comes."""
    # Who waits for an answer needs no more; the usual 8 MB for each would not fit the limit on data
    # that a worker's processes inherit.
    threading.stack_size(256 * 1024)
    over, tally = threading.Event(), Tally()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    for number in range(1, LOADS[name].visitors + 1):
        visitor = Visitor(number, port, tally, over)
        threading.Thread(target=_visit, args=(visitor, LOADS[name].visit), daemon=True).start()
    began = time.monotonic()
    while not over.wait(TALLY_SECONDS):
        elapsed = time.monotonic() - began
        tally.write(path, load=name, seconds=elapsed)
        if elapsed > seconds:
            break


def _visit(visitor: Visitor, visit: Callable[[Visitor], None]) -> None:
    while True:
        visit(visitor)


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
