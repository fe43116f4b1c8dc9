"""Hostile clients, each kind let loose on a server with all its limits on.

None may take 10 MB, keep ``/health`` waiting for a second, or have anybody else refused.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.promises.siege import (
    LONGEST_SECONDS,
    Attack,
    Outcome,
    Talk,
    besiege,
    charge_bytes,
    connect,
    hang_up,
    new_address,
    settle,
    talk,
)
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running
from tests.support.slowness import SLOWNESS
from tests.web.path.uploads.forms import FORM_TYPE, archive, file_part, form, png

from tonnage.units import KIB, MIB

pytestmark = pytest.mark.real

APP = "tests.promises.hostile_app:app"
LIMITS = (
    "--max-body", "1M", "--max-upload", "3M", "--max-response", "10M", "--timeout", "10s",
    "--rate-limit", "6000/1m", "--compress", "--decompress", "--remove-headers", "server",
    "--cors-origins", "https://shop.example",
)  # fmt: skip
# As ever, but sooner: by default a slow client has 10 s.
SOON = ("--header-seconds", "2", "--body-seconds", "2", "--keep-alive-seconds", "2")

CROWD = 200
# The begin of a gzip whose first 64 KB are as they are.
STORED = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\0\xff\xff\0\0"
# What a client can have sent before it is cut: what is dropped of an unwanted body, and what lies
# in the buffers of two sockets: 10 MB by their sizes, and on a busy machine a good deal more.
MOST_ACCEPTED_BYTES = 16 * MIB + 24 * MIB
UPLOADS = 64


class Fortress:
    """A server in a box of 256 MB, and the folder in which it keeps photos."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.keep = folder / "kept" / "photos"
        self.keep.mkdir(parents=True)
        self._stack = ExitStack()
        self.box = self._stack.enter_context(MemoryBox(256 * MIB))
        env = {"SPOOL": str(folder), "KEEP": str(self.keep)}
        arguments = (APP, "--workers", "1", *LIMITS, *SOON, *options)
        self.server = self._stack.enter_context(Running(*arguments, box=self.box, env=env))
        settle(self.server)

    def close(self) -> None:
        """Stop the server; it must end well."""
        self._stack.close()

    def withstand(self, attack: Attack, longest_seconds: float = LONGEST_SECONDS) -> Outcome:
        """Let *attack* loose; nobody else may notice."""
        outcome = besiege(self.server, self.box, attack, longest_seconds=longest_seconds)
        print(f"{outcome}; afterwards {charge_bytes(self.box) / MIB:.1f}")
        outcome.check()
        assert self.box.kills() == 0
        return outcome


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    """Yield a server that has outlived what was let loose on it before."""
    need_cgroup()
    built = Fortress(tmp_path_factory.mktemp("fortress"))
    yield built
    assert len(built.server.worker_pids()) == 1
    built.close()


def head(path: str, *headers: str) -> bytes:
    """Return the head of a request with a body."""
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: a", *headers, "", "")).encode()


def chunk(data: bytes) -> bytes:
    """Return one chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


# -- slowly


@pytest.mark.parametrize(
    "begun",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX-a: ",
        head("/count", "Content-Length: 100000"),
        head("/json", "Content-Length: 100000"),
        head("/count", "Transfer-Encoding: chunked") + b"ffff\r\n",
        head("/count", "Transfer-Encoding: chunked", "Content-Encoding: gzip")
        + b"ffff\r\n"
        + STORED,
    ],
    ids=["head", "body", "body read whole", "chunk", "packed body"],
)
def test_one_byte_a_second(fortress: Fortress, begun: bytes) -> None:
    """Two hundred clients that send a byte a second are all cut, and told why.

    More than may wait for their first measurement are refused even before.
    """
    address, answers = new_address(), Counter[str]()

    async def drip(port: int) -> None:
        reader, writer = await connect(port, address)
        writer.write(begun)
        answer = asyncio.ensure_future(reader.read())
        while not (await asyncio.wait([answer], timeout=1.0))[0]:
            writer.write(b"x")
        answers[Talk(answer=await answer).statuses] += 1
        await hang_up(writer)

    async def attack(port: int) -> None:
        await asyncio.gather(*(drip(port) for _ in range(CROWD)))

    fortress.withstand(attack)
    assert answers.total() == CROWD
    assert answers.keys() <= {"408", "503"}
    assert answers["408"] > CROWD / 2


@pytest.mark.parametrize("coding", ["br", pytest.param("zstd", marks=pytest.mark.soak)])
def test_packed_bodies_that_stop(fortress: Fortress, coding: str) -> None:
    """What decompressors hold for a hundred clients is bounded, wherever each of them stops."""
    packed = unfinished(coding)
    begun = head("/count", "Transfer-Encoding: chunked", f"Content-Encoding: {coding}")
    address, answers = new_address(), Counter[str]()

    async def stop(port: int) -> None:
        found = await talk(port, [begun + chunk(packed)], address)
        answers[found.statuses] += 1

    async def attack(port: int) -> None:
        await asyncio.gather(*(stop(port) for _ in range(CROWD // 2)))

    fortress.withstand(attack)
    assert answers.keys() == {"408", "503"}


def test_clients_that_do_not_read(fortress: Fortress) -> None:
    """Two hundred, each with a response of 4 MB, of which no more is made than they take."""

    async def attack(port: int) -> None:
        address = new_address()
        opened = [await connect(port, address, receive_bytes=4 * KIB) for _ in range(CROWD)]
        for _, writer in opened:
            writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(3.0)
        await asyncio.gather(*(hang_up(writer) for _, writer in opened))

    fortress.withstand(attack)


def unfinished(coding: str) -> bytes:
    """Return the begin of a body, which unpacks to 900 KB in the largest window there may be."""
    data = random.Random(1).randbytes(60 * KIB) + bytes(840 * KIB)
    if coding == "br":
        brotli = pytest.importorskip("brotli").Compressor(quality=5, lgwin=22)
        return bytes(brotli.process(data) + brotli.flush())
    zstd = pytest.importorskip("backports.zstd")
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 21})
    return bytes(packer.compress(data) + packer.flush(packer.FLUSH_BLOCK))


# -- without end


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/count", "text/plain", "413"),
        ("/count", "image/png", "413"),
        ("/json", "application/json", "413"),
        ("/photos", "image/png", "413"),
        ("/photos", FORM_TYPE.decode(), "413"),
        ("/photos", "text/plain", "415"),
        ("/ignore", "text/plain", "200"),
    ],
)
def test_a_body_of_10_gb(fortress: Fortress, path: str, kind: str, status: str) -> None:
    """Whoever sends chunk after chunk, as fast as it is accepted, is refused and then cut."""
    address, talks = new_address(), list[Talk]()
    piece, first = chunk(png(64 * KIB)), b""
    if kind == FORM_TYPE.decode():
        first = chunk(file_part("photo", "a.png", png(64 * KIB))[:-2])

    async def pour(port: int) -> None:
        begin = head(path, "Transfer-Encoding: chunked", f"Content-Type: {kind}")
        pieces = itertools.chain([begin, first], itertools.repeat(piece, 160 * KIB))
        talks.append(await talk(port, pieces, address))

    async def attack(port: int) -> None:
        await asyncio.gather(*(pour(port) for _ in range(4)))

    fortress.withstand(attack)
    # Who goes on sending until he is cut may lose the answer.
    assert status in {each.statuses for each in talks} <= {status, "reset"}
    assert max(each.sent_bytes for each in talks) < MOST_ACCEPTED_BYTES


# -- lying


LIES: dict[str, tuple[list[str], bytes, set[str]]] = {
    "more than comes": (["Content-Length: 1000"], b"[1]", {"closed"}),
    "less than comes": (["Content-Length: 3"], b"[1][2]", {"200"}),
    "two lengths": (["Content-Length: 3", "Content-Length: 4"], b"[1]", {"400"}),
    "twice the same": (["Content-Length: 3", "Content-Length: 3"], b"[1]", {"400"}),
    "negative": (["Content-Length: -1"], b"[1]", {"400"}),
    "a sign": (["Content-Length: +3"], b"[1]", {"400"}),
    "a list": (["Content-Length: 3, 3"], b"[1]", {"400"}),
    "hexadecimal": (["Content-Length: 0x3"], b"[1]", {"400"}),
    "nothing": (["Content-Length: "], b"[1]", {"400"}),
    "10 GB": (["Content-Length: 10737418240"], b"[1]", {"413"}),
    "2**64": (["Content-Length: 18446744073709551616"], b"[1]", {"400"}),
    "ten thousand digits": (["Content-Length: " + "9" * 10_000], b"[1]", {"400"}),
    "both ways": (["Content-Length: 3", "Transfer-Encoding: chunked"], b"0\r\n\r\n", {"400"}),
    "chunked, and more": (["Transfer-Encoding: chunked, gzip"], b"0\r\n\r\n", {"400"}),
    "a chunk without end": (["Transfer-Encoding: chunked"], b"f" * 30 + b"\r\n", {"400"}),
    "a negative chunk": (["Transfer-Encoding: chunked"], b"-3\r\n[1]\r\n", {"400"}),
}


def test_a_content_length_that_lies(fortress: Fortress) -> None:
    """More, less, twice, negative, huge: nobody waits for what does not come, nothing is a 500."""
    address, answers = new_address(), dict[str, Counter[str]]()

    async def lie(port: int, name: str) -> None:
        headers, body, _ = LIES[name]
        request = head("/json", "Content-Type: application/json", *headers) + body
        found = await talk(port, [request], address, half_close=True)
        answers.setdefault(name, Counter())[found.statuses] += 1

    async def attack(port: int) -> None:
        await asyncio.gather(*(lie(port, name) for name in LIES for _ in range(5)))

    fortress.withstand(attack)
    assert {name: set(found) for name, found in answers.items()} == {
        name: statuses for name, (_, _, statuses) in LIES.items()
    }


@pytest.mark.parametrize(
    "headers",
    [b"a: b\r\n" * 100_000, b"a: " + b"b" * 10 * MIB + b"\r\n", b"a" * 10 * MIB + b": b\r\n"],
    ids=["100,000 headers", "a long header", "a long name"],
)
def test_headers_without_measure(fortress: Fortress, headers: bytes) -> None:
    """100,000 of them, or one of 10 MB: 431, and no more is read than a head may have."""
    address, answers = new_address(), Counter[str]()

    async def ask(port: int) -> None:
        request = b"GET / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n"
        answers[(await talk(port, [request], address)).statuses] += 1

    async def attack(port: int) -> None:
        await asyncio.gather(*(ask(port) for _ in range(10)))

    fortress.withstand(attack)
    assert answers.keys() == {"431"}


# -- packed


def gzip_bomb() -> bytes:
    """Return 10 MB that unpack to 10 GB: one MB of zeros, again and again, in one member."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * 10_240


def brotli_bomb() -> bytes:
    """Return 256 MB of zeros in the largest window that is taken."""
    brotli = pytest.importorskip("brotli")
    packer = brotli.Compressor(quality=5, lgwin=22)
    packed = [packer.process(bytes(MIB)) for _ in range(256)]
    return b"".join(packed) + bytes(packer.finish())


def zstd_bomb() -> bytes:
    """Return 256 MB of zeros that ask for a window of 2 MB."""
    zstd = pytest.importorskip("backports.zstd")
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 21})
    packed = [packer.compress(bytes(MIB)) for _ in range(256)]
    return b"".join(packed) + bytes(packer.flush())


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "gzip": (gzip_bomb, "413"),
    "br": (brotli_bomb, "413"),
    "zstd": (zstd_bomb, "413"),
    # A bomb in a bomb: one layer is unpacked, never two.
    "gzip, gzip": (lambda: zlib.compress(gzip_bomb()[:MIB], wbits=31), "415"),
}


@pytest.mark.parametrize("path", ["/count", "/json"])
@pytest.mark.parametrize("coding", BOMBS)
def test_a_bomb(fortress: Fortress, coding: str, path: str) -> None:
    """It is refused as soon as it has unpacked to more than a body may have; 16 at once."""
    make, status = BOMBS[coding]
    bomb, address, answers = make(), new_address(), Counter[str]()
    pieces = [chunk(bomb[at : at + 64 * KIB]) for at in range(0, len(bomb), 64 * KIB)]
    request = head(path, "Transfer-Encoding: chunked", f"Content-Encoding: {coding}")

    async def throw(port: int) -> None:
        found = await talk(port, [request, *pieces, b"0\r\n\r\n"], address)
        answers[found.statuses] += 1

    async def attack(port: int) -> None:
        await asyncio.gather(*(throw(port) for _ in range(16)))

    fortress.withstand(attack)
    assert answers.keys() <= {status, "429", "503"}, answers
    assert answers[status] > 0


# -- in disguise


NAMES = (
    "../../../../etc/cron.d/x.png",
    "..\\..\\boot.ini.png",
    "/etc/passwd",
    "C:\\Windows\\x.png",
    "....//....//x.png",
    "%2e%2e%2fx.png",
    "..",
    ".",
    ".htaccess",
    "a\0.png",
    "a\r\nb.png",
    "shell.php.png",
    "shell.php",
    "aux.png",
    "\u202egnp.exe",
    "x" * 5000 + ".png",
    "~/.ssh/authorized_keys",
    "-rf",
)


def test_names_that_lead_elsewhere(fortress: Fortress) -> None:
    """Whatever a client calls its file, it stays in the folder, under a name that does nothing."""
    address, before = new_address(), set(fortress.keep.iterdir())
    around = [fortress.keep.parent, fortress.keep.parent.parent]
    outside = [sorted(folder.iterdir()) for folder in around]
    answers = Counter[str]()

    async def send(port: int, name: str) -> None:
        part = file_part("photo", name.replace("\r\n", "%0d%0a"), png(KIB))
        body = form(part)
        about = (f"Content-Type: {FORM_TYPE.decode()}", f"Content-Length: {len(body)}")
        request = head("/photos", *about, "Connection: close") + body
        answers[(await talk(port, [request], address)).statuses] += 1

    async def attack(port: int) -> None:
        await asyncio.gather(*(send(port, name) for name in NAMES))

    fortress.withstand(attack)
    kept = set(fortress.keep.iterdir()) - before
    assert answers.keys() <= {"201", "400"}
    assert len(kept) >= answers["201"] > answers["400"]
    assert [sorted(folder.iterdir()) for folder in around] == outside
    assert {path.suffix for path in kept} == {".png"}
    assert all(re.fullmatch(r"[^./\\\0-\x1f][^/\\\0-\x1f]*\.png", path.name) for path in kept)
    assert max(len(os.fsencode(path.name)) for path in kept) <= 120


def polyglots() -> Iterator[tuple[str, bytes]]:
    """Yield files that begin as an image, or say that they are one, and are also something else."""
    gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00"
    yield "image/png", png(KIB) + archive()
    yield "image/gif", gif + bytes(200) + archive()
    yield "image/gif", b"GIF89a/*" + bytes(200) + b"*/=1;alert(1)"
    yield "image/gif", gif + b"<script>alert(1)</script>"
    yield "image/png", png(100) + b"<?php system($_GET[0]); ?>"
    yield "image/png", png(64) + b"%PDF-1.7\n" + bytes(200)
    yield "image/png", b"<svg onload=alert(1)>" + bytes(100)
    yield "image/png", b"\x7fELF\x02\x01\x01" + bytes(200)
    yield "image/png", b"MZ" + bytes(200)
    yield "image/png", b"#!/bin/sh\nid\n"
    yield "image/svg+xml", b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>"
    yield "text/html", png(300)


def test_files_that_are_two_things(fortress: Fortress) -> None:
    """An image that is also an archive, a script, a page or a PDF is refused, in a form or raw."""
    address, before = new_address(), set(fortress.keep.iterdir())
    answers = Counter[str]()

    async def send(port: int, kind: str, body: bytes) -> None:
        about = (f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close")
        request = head("/photos", *about) + body
        answers[(await talk(port, [request], address)).statuses] += 1

    async def attack(port: int) -> None:
        for kind, content in polyglots():
            await send(port, kind, content)
            body = form(file_part("photo", "a.png", content, kind))
            await asyncio.gather(*(send(port, FORM_TYPE.decode(), body) for _ in range(5)))

    fortress.withstand(attack)
    kept = [path for path in set(fortress.keep.iterdir()) - before if path.name != "a.png"]
    assert answers == {"415": answers.total()}
    assert all(path.stat().st_size == KIB for path in kept)  # those who mean no harm send these


# -- under many names


def spoofed(number: int) -> str:
    """Return an address that nobody has had before: IPv4 or IPv6, in the spelling of proxies."""
    if number % 2:
        return f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
    return ".".join(map(str, struct.pack(">I", 0x0B000000 + number)))


async def flood(port: int, address: str, count: int, answers: Counter[str]) -> None:
    """Ask *count* times, each time as somebody else, on eight connections."""
    numbers = iter(range(count))

    async def ask() -> None:
        reader, writer = await connect(port, address)
        while batch := list(itertools.islice(numbers, 8)):
            for number in batch:
                forwarded = f"X-Forwarded-For: 10.9.8.7, {spoofed(number)}\r\n".encode()
                writer.write(b"GET /ignore HTTP/1.1\r\nHost: a\r\n" + forwarded + b"\r\n")
            for _ in batch:
                found = (await reader.readuntil(b"\r\n\r\n")).decode()
                answers[found[9:12]] += 1
                length = re.search(r"content-length: (\d+)", found)
                await reader.readexactly(int(length[1]) if length else 0)
        await hang_up(writer)

    await asyncio.gather(*(ask() for _ in range(8)))


MANY = 10_000


@pytest.mark.parametrize(
    "count", [MANY, pytest.param(1_000_000, marks=pytest.mark.soak)], ids=lambda count: f"{count}"
)
def test_as_many_addresses_behind_a_proxy(count: int, tmp_path: Path) -> None:
    """Where a proxy is believed, each address has its own rate, in a table that cannot grow."""
    need_cgroup()
    fortress = Fortress(tmp_path, "--proxy-hops", "1")
    address, answers = new_address(), Counter[str]()
    try:
        fortress.withstand(
            lambda port: flood(port, address, count, answers), LONGEST_SECONDS + count / 1000
        )
    finally:
        fortress.close()
    assert answers.keys() == {"200"}
    assert answers["200"] >= count


def test_as_many_addresses_that_nobody_vouches_for(tmp_path: Path) -> None:
    """Where no proxy is known, the header is what a client says: all of it is one client."""
    need_cgroup()
    fortress = Fortress(tmp_path, "--rate-limit", "1000/15m")
    address, answers = new_address(), Counter[str]()
    try:
        fortress.withstand(lambda port: flood(port, address, MANY, answers))
    finally:
        fortress.close()
    # One more each 0.9 s.
    assert 1000 <= answers["200"] < 1000 + 40 * SLOWNESS
    assert answers["429"] >= MANY - answers["200"]


# -- not hostile, but many


@pytest.mark.parametrize("asks_first", [True, False], ids=["asks first", "sends at once"])
def test_uploads_at_once(tmp_path: Path, asks_first: bool) -> None:
    """64 clients send 2 MB each: all are served, and their 128 MB are never in memory."""
    need_cgroup()
    fortress = Fortress(tmp_path)
    body = form(file_part("photo", "b.png", png(2 * MIB - KIB)))
    about = (f"Content-Type: {FORM_TYPE.decode()}", f"Content-Length: {len(body)}")
    answers = Counter[str]()
    address = new_address()

    async def send(port: int) -> None:
        if not asks_first:
            request = head("/photos", *about, "Connection: close") + body
            answers[(await talk(port, [request], address)).statuses] += 1
            return
        reader, writer = await connect(port, address)
        writer.write(head("/photos", *about, "Connection: close", "Expect: 100-continue"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        answers[Talk(answer=await reader.read()).statuses] += 1
        await hang_up(writer)

    async def attack(port: int) -> None:
        await asyncio.gather(*(send(port) for _ in range(UPLOADS)))

    try:
        outcome = besiege(fortress.server, fortress.box, attack)
        print(outcome)
    finally:
        fortress.close()
    assert answers.keys() == {"201"}
    assert outcome.failures == []
    # What a server has read before an application can ask it to stop: 256 KB a connection.
    unread_bytes = 0 if asks_first else UPLOADS * 256 * KIB
    assert outcome.grown_bytes < unread_bytes + 10 * MIB
