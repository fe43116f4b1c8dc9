"""The crowd against a small server of the test's own: what it counts, and what it sends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.beforeafter.crowd import BROKEN, OK, TIMED_OUT, Played, play
from benchmarks.beforeafter.scenario import read
from tests.beforeafter.test_scenario import write

HEAD = """
[load]
clients = {clients}
think_seconds = 0.005
seconds = 1
timeout_seconds = 0.1
[probe]
path = "/"
[naive]
command = "x {{port}}"
[tonnage]
command = "x {{port}}"
"""
LOOKS = '[[visit]]\nname = "looks"\n[[visit.step]]\npath = "/look"\n'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(slots=True)
class Asked:
    """What the server was asked: paths in their order, and from which addresses."""

    port: int = 0
    paths: list[str] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)


@asynccontextmanager
async def serving(answer: Callable[[str, Asked], bytes | None]) -> AsyncIterator[Asked]:
    """Answer each request with what *answer* makes of its path; None: not at all."""
    asked = Asked()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.addresses.add(writer.get_extra_info("peername")[0])
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                asked.paths.append(head.split(b" ", 2)[1].decode())
                data = answer(asked.paths[-1], asked)
                writer.write(data or b"")
                if data == b"":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        asked.port = server.sockets[0].getsockname()[1]
        yield asked


async def played(directory: Path, asked: Asked, text: str, *, clients: int = 1) -> Played:
    """Have a scenario played for a fifth of a second."""
    scenario = read(write(directory, HEAD.format(clients=clients) + text))
    return await play(scenario, asked.port, {}, seconds=0.2)


def outcomes(done: Played) -> Counter[str]:
    """Return how many requests came to what."""
    return Counter(answer.outcome for answer in done.answers)


async def test_each_client_has_an_address_and_keeps_its_connection(tmp_path: Path) -> None:
    """So limits by address see as many people as there are."""
    async with serving(lambda path, asked: PLAIN) as asked:
        done = await played(tmp_path, asked, LOOKS, clients=3)

    assert asked.addresses == {"127.0.1.2", "127.0.1.3", "127.0.1.4"}
    assert outcomes(done)[OK] == len(asked.paths) > 10


async def test_what_fails_is_told_apart(tmp_path: Path) -> None:
    """A status that is not good, no answer in time, and a connection that ends."""
    refused = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
    for data, outcome in ((refused, "503"), (None, TIMED_OUT), (b"", BROKEN)):
        async with serving(partial(_always, data)) as asked:
            found = outcomes(await played(tmp_path, asked, LOOKS))
            assert set(found) == {outcome}


def _always(data: bytes | None, path: str, asked: Asked) -> bytes | None:
    return data


async def test_after_a_failure_the_rest_of_a_visit_is_left_out(tmp_path: Path) -> None:
    """The next visit begins with its first step."""
    text = LOOKS + '[[visit.step]]\npath = "/then"\n'
    refused = b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"
    async with serving(lambda path, asked: refused if path == "/look" else PLAIN) as asked:
        done = await played(tmp_path, asked, text)

    assert set(asked.paths) == {"/look"}
    assert set(outcomes(done)) == {"404"}


async def test_first_steps_are_taken_until_they_succeed(tmp_path: Path) -> None:
    """And what was kept of their answers is known in every visit; chunks are understood."""
    text = (
        '[[once]]\nmethod = "POST"\npath = "/register"\nkeep = {key = "key"}\n'
        '[[visit]]\nname = "looks"\n[[visit.step]]\npath = "/look/{key}"\n'
    )
    chunked = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b'4\r\n{"ke\r\n7\r\ny": 42}\r\n0\r\n\r\n'

    def answer(path: str, asked: Asked) -> bytes:
        if len(asked.paths) < 3:
            return b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return chunked

    async with serving(answer) as asked:
        done = await played(tmp_path, asked, text)

    assert asked.paths[:4] == ["/register", "/register", "/register", "/look/42"]
    assert outcomes(done)["503"] == 2


async def test_only_what_was_taken_counts_as_acknowledged(tmp_path: Path) -> None:
    """Each by its key; an object of a list has its place in it."""
    text = (
        '[[visit]]\nname = "plays"\n[[visit.step]]\nmethod = "POST"\npath = "/chess/events?a=b"\n'
        "json = [{n = 1}, {n = 2}, {n = 3}]\nok = [200, 409]\n"
        'stores = {events = "{visit}-{record}"}\n'
    )
    full = b"HTTP/1.1 409 X\r\nContent-Length: 0\r\n\r\n"
    async with serving(lambda path, asked: full if len(asked.paths) > 4 else PLAIN) as asked:
        done = await played(tmp_path, asked, text)

    visits, records = range(2, 6), range(1, 4)
    assert done.acknowledged == {"events": {f"{v}-{n}" for v in visits for n in records}}
    assert outcomes(done)[OK] == len(asked.paths) > 4


async def test_a_step_is_asked_again_until_it_is_so(tmp_path: Path) -> None:
    """Each time counts as a request."""
    text = LOOKS + 'until = {state = "done"}\n[[visit.step]]\npath = "/then"\n'

    def answer(path: str, asked: Asked) -> bytes:
        state = b"done" if asked.paths.count("/look") > 1 else b"wait"
        return b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"state": "%s"}' % state

    async with serving(answer) as asked:
        scenario = read(write(tmp_path, HEAD.format(clients=1).replace("0.1", "1") + text))
        await play(scenario, asked.port, {}, seconds=1.0)

    assert asked.paths[:3] == ["/look", "/look", "/then"]


async def test_what_takes_a_while_is_acknowledged_when_it_is_done(tmp_path: Path) -> None:
    """Not when somebody has asked for it."""
    text = LOOKS + 'until = {state = "done"}\nstores = {portraits = "Visitor {client}"}\n'
    for state, acknowledged in (("wait", {}), ("done", {"portraits": {"Visitor 1"}})):
        data = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"state": "%s"}' % state.encode()
        async with serving(partial(_always, data)) as asked:
            assert (await played(tmp_path, asked, text)).acknowledged == acknowledged
