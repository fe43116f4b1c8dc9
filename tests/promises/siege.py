"""An attack on a running server, with what is promised of all others meanwhile.

    outcome = besiege(server, box, attack)
    outcome.check()

While *attack* runs, ``/health`` is asked every 50 ms on a connection of its own, clients that mean
no harm get a page, send a body, a list and a photo in turn, and the charge of the box is read. They
come from an address of their own (all of 127.0.0.0/8 is this machine), so that rate limits can tell
them from the attackers; an attack connects with :func:`connect`.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks.probe import every
from tests.support.cgroup import MemoryBox
from tests.support.server import Running
from tests.support.slowness import SLOWNESS
from tests.web.path.uploads.forms import FORM_TYPE, file_part, form, png

from tonnage.units import KIB, MIB

#: What an attack may cost, in bytes, and how long health may take, in seconds.
MOST_BYTES = 10 * MIB
MOST_SECONDS = 1.0
#: An attack that is over sooner is made again.
LEAST_SECONDS = 1.0
#: One that takes longer has hung.
LONGEST_SECONDS = 40.0

_PROBE_SECONDS = 0.05
_PAUSE_SECONDS = 0.02
_ROUNDS = 30
_FRIEND = "127.0.0.2"
# Of attacks, so that none meets the rate limit of another.
_numbers = itertools.count(10)

Attack = Callable[[int], Awaitable[None]]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def _request(method: str, path: str, body: bytes = b"", kind: bytes = b"text/plain") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n".encode()
    about = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (kind, len(body)) if body else b""
    return head + b"Connection: close\r\n" + about + b"\r\n" + body


_FRIENDLY = (
    (_request("GET", "/"), "200"),
    (_request("POST", "/count", b"x" * 64 * KIB), "200"),
    (_request("POST", "/json", b"[1, 2]", b"application/json"), "200"),
    (_request("POST", "/photos", form(file_part("photo", "a.png", png(KIB))), FORM_TYPE), "201"),
)
_HEALTH = _request("GET", "/health")


@dataclass(slots=True)
class Outcome:
    """What became of all others, and of memory."""

    before_bytes: int
    most_bytes: int = 0
    served: int = 0
    is_over: bool = False
    health_seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def grown_bytes(self) -> int:
        """How much more was charged than before, at most."""
        return self.most_bytes - self.before_bytes

    def check(self) -> None:
        """Assert what is promised."""
        assert self.failures[:3] == []
        assert self.served > 0
        assert self.health_seconds
        assert max(self.health_seconds) < MOST_SECONDS * SLOWNESS
        assert self.grown_bytes < MOST_BYTES

    def __str__(self) -> str:
        slowest_ms = 1000 * max(self.health_seconds, default=0)
        return (
            f"{self.grown_bytes / MIB:.1f} MB more, {self.served} served, {len(self.failures)}"
            f" failed, health {len(self.health_seconds)} times in {slowest_ms:.0f} ms at most"
        )


def besiege(
    server: Running, box: MemoryBox, attack: Attack, *, longest_seconds: float = LONGEST_SECONDS
) -> Outcome:
    """Let *attack* loose on the port of *server*, which runs in *box*, for a second at least."""

    async def main() -> Outcome:
        outcome = Outcome(charge_bytes(box))
        async with asyncio.TaskGroup() as group:
            others = [
                group.create_task(every(_PROBE_SECONDS, lambda: group.create_task(probe(outcome)))),
                group.create_task(every(_PROBE_SECONDS, lambda: sample(outcome))),
            ]
            friend = group.create_task(befriend(outcome))
            try:
                async with asyncio.timeout(longest_seconds * SLOWNESS):
                    begun = time.monotonic()
                    while time.monotonic() - begun < LEAST_SECONDS:
                        await attack(server.port)
            finally:
                outcome.is_over = True
                for task in others:
                    task.cancel()
                await friend
        sample(outcome)
        return outcome

    async def probe(outcome: Outcome) -> None:
        begun = time.monotonic()
        try:
            await _ask(server.port, _HEALTH, "200")
        except (AssertionError, OSError) as error:
            outcome.failures.append(f"health: {error!r}")
        outcome.health_seconds.append(time.monotonic() - begun)

    async def befriend(outcome: Outcome) -> None:
        for request, status in itertools.cycle(_FRIENDLY):
            if outcome.is_over:
                return
            try:
                await _ask(server.port, request, status)
                outcome.served += 1
            except (AssertionError, OSError) as error:
                outcome.failures.append(f"{request[:20]!r}: {error!r}")
            await asyncio.sleep(_PAUSE_SECONDS)

    def sample(outcome: Outcome) -> None:
        outcome.most_bytes = max(outcome.most_bytes, charge_bytes(box))

    return asyncio.run(main())


def settle(server: Running) -> None:
    """Have clients that mean no harm served for a while: what their requests cost is known then."""

    async def main() -> None:
        for _ in range(_ROUNDS):
            await asyncio.gather(*(_ask(server.port, *each) for each in _FRIENDLY))

    asyncio.run(main())


def charge_bytes(box: MemoryBox) -> int:
    """Return what is charged to *box* without the cache of files, which is not shared memory."""
    text = (box.path / "memory.stat").read_text()
    words = dict(line.split() for line in text.splitlines())
    return box.usage() - int(words["active_file"]) - int(words["inactive_file"])


def new_address() -> str:
    """Return an address of this machine that nobody has come from yet."""
    number = next(_numbers)
    return f"127.0.{number // 250 + 1}.{number % 250 + 1}"


async def connect(port: int, address: str, *, receive_bytes: int | None = None) -> Stream:
    """Return a connection to *port* from *address*; with *receive_bytes* it takes little."""
    if receive_bytes is None:
        return await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    bare = socket.socket()
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    bare.bind((address, 0))
    bare.setblocking(False)
    await asyncio.get_running_loop().sock_connect(bare, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=bare, limit=receive_bytes)


@dataclass(slots=True)
class Talk:
    """What was sent on a connection, as far as it was accepted, and all that came back."""

    sent_bytes: int = 0
    answer: bytes = b""
    was_reset: bool = False

    @property
    def statuses(self) -> str:
        """The statuses of the answers; "closed" where there was none, "reset" where that is why."""
        found = [each.decode() for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.answer)]
        return " ".join(found) or ("reset" if self.was_reset else "closed")


async def talk(
    port: int, pieces: Iterable[bytes], address: str, *, half_close: bool = False
) -> Talk:
    """Send *pieces* on a connection of its own until it ends, and read all that comes back.

    Each piece is asked for when the one before it was accepted.
    """
    reader, writer = await connect(port, address)
    found = Talk()

    async def send() -> None:
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                found.sent_bytes += len(piece)
            if half_close:
                writer.write_eof()

    sending = asyncio.ensure_future(send())
    try:
        while piece := await reader.read(64 * KIB):
            found.answer += piece
    except ConnectionError:
        found.was_reset = True
    # Who has closed his half may still read: a hostile client goes on.
    await sending
    await hang_up(writer)
    return found


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """End a connection without any manners."""
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _ask(port: int, request: bytes, status: str) -> None:
    found = await talk(port, [request], _FRIEND)
    assert found.statuses == status, found.answer[:300] or found.statuses
