"""Compressed bodies are unpacked as far as their limits go, and no further."""

from __future__ import annotations

import gzip
import importlib
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from tests.support.collector import hangs_at

from tonnage.errors import RequestRefusedError
from tonnage.units import KIB, MIB
from tonnage.web.path.decompress import (
    FREE_BYTES,
    MOST_MEMBERS,
    STEP_BYTES,
    Decompression,
    RequestDecoder,
)
from tonnage.web.path.encodings import brotli_module, zstd_module
from tonnage.web.respond import Message, Scope

ROWS = b"".join(
    b'{"id": %d, "name": "row %x"},\n' % (number, random.Random(number).getrandbits(64))
    for number in range(4000)
)


def raw_deflate(data: bytes) -> bytes:
    """Return deflate without zlib's head and checksum."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes, **options: Any) -> bytes:
    """Return *data* compressed by brotli."""
    module = pytest.importorskip("brotli")
    return bytes(module.compress(data, **{"quality": 4, **options}))


def zstd(data: bytes, **options: Any) -> bytes:
    """Return *data* compressed by zstd."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return bytes(importlib.import_module(name).compress(data, **options))
        except ImportError:
            continue
    pytest.skip("no zstd")


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli),
    ("zstd", zstd),
]
each_coding = pytest.mark.parametrize(
    ("name", "pack"), PACKERS, ids=["gzip", "x-gzip", "deflate", "raw deflate", "br", "zstd"]
)


def request(coding: str | None, *more: tuple[bytes, bytes]) -> Scope:
    """Return the scope of a request with a body."""
    given = [] if coding is None else [(b"content-encoding", coding.encode())]
    return {"type": "http", "method": "POST", "path": "/", "headers": [*given, *more]}


def begin(coding: str, **options: Any) -> RequestDecoder:
    """Return what unpacks a body."""
    decoder = Decompression().begin(request(coding), **options)
    assert decoder is not None
    return decoder


def unpack(decoder: RequestDecoder, pieces: Iterable[bytes]) -> bytes:
    """Return the body; no part of it may be longer than about a step."""
    unpacked = b""
    for piece in [*pieces, b""]:
        decoder.put(piece, more=bool(piece))
        while not decoder.is_finished:
            part = decoder.take()
            if part is None:
                break
            assert len(part) <= 2 * STEP_BYTES
            unpacked += part
    return unpacked


def refusal(decoder: RequestDecoder, pieces: Iterable[bytes]) -> tuple[int, str]:
    """Return status and word of the refusal."""
    with pytest.raises(RequestRefusedError) as refused:
        unpack(decoder, pieces)
    return refused.value.problem.status, refused.value.problem.error


@each_coding
@pytest.mark.parametrize("cut", [1, 7, 1000, 10**9])
def test_a_body_is_unpacked_however_it_is_cut(
    name: str, pack: Callable[[bytes], bytes], cut: int
) -> None:
    """What arrives in one piece or byte by byte is the same body."""
    data = ROWS if cut > 100 else ROWS[:5000]
    packed = pack(data)

    pieces = [packed[at : at + cut] for at in range(0, len(packed), cut)]

    assert unpack(begin(name), pieces) == data


@each_coding
def test_a_bomb_is_413_when_it_goes_off(name: str, pack: Callable[[bytes], bytes]) -> None:
    """Unpacked is what its size allows and a step more, not the 64 MB that it holds."""
    bomb = pack(bytes(64 * MIB))
    decoder = begin(name)

    tracemalloc.start()
    told = refusal(decoder, [bomb])
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert told == (413, "payload_too_large")
    assert most_bytes < 20 * len(bomb) + 4 * MIB


@each_coding
def test_a_body_may_be_as_large_as_its_limit(name: str, pack: Callable[[bytes], bytes]) -> None:
    """One byte more is 413, and the limit is told."""
    assert unpack(begin(name, max_bytes=len(ROWS)), [pack(ROWS)]) == ROWS

    with pytest.raises(RequestRefusedError) as refused:
        unpack(begin(name, max_bytes=len(ROWS) - 1), [pack(ROWS)])
    assert refused.value.problem.status == 413
    assert refused.value.problem.extra == {"maxBytes": len(ROWS) - 1}


def test_a_small_body_may_be_very_regular() -> None:
    """The ratio matters from 64 KB on."""
    assert unpack(begin("gzip"), [gzip.compress(bytes(FREE_BYTES))]) == bytes(FREE_BYTES)
    assert refusal(begin("gzip"), [gzip.compress(bytes(FREE_BYTES + 1))])[0] == 413


@each_coding
def test_damage_is_400(name: str, pack: Callable[[bytes], bytes]) -> None:
    """Also a body that ends too early; the application would take half of it for all."""
    packed = pack(ROWS)
    damaged = packed[:1000] + bytes([packed[1000] ^ 0xFF, packed[1001] ^ 0xFF]) + packed[1002:]

    assert refusal(begin(name), [packed[:-1]]) == (400, "bad_content_encoding")
    assert refusal(begin(name), [b"\xff\xfe plain text"])[0] == 400
    if pack in (gzip.compress, zlib.compress):  # the others come without a checksum
        with pytest.raises(RequestRefusedError):
            unpack(begin(name), [damaged])


def test_an_empty_body_is_empty() -> None:
    """Clients name a coding and send nothing."""
    assert unpack(begin("gzip"), []) == b""


def test_files_one_after_another_are_one_body() -> None:
    """As in gzip's own format; but not without end, since also empty ones cost time."""
    part = gzip.compress(b"row\n")

    assert unpack(begin("gzip"), [part * 100]) == b"row\n" * 100
    assert unpack(begin("gzip"), [part[:-3], part[-3:] + part]) == b"row\n" * 2
    assert refusal(begin("gzip"), [gzip.compress(b"") * (MOST_MEMBERS + 1)])[0] == 400
    assert refusal(begin("gzip"), [part + b"rubbish"])[0] == 400


def test_frames_of_zstd_one_after_another_are_one_body() -> None:
    """Its format allows that too."""
    assert unpack(begin("zstd"), [zstd(b"row\n") * 3]) == b"row\n" * 3


@pytest.mark.parametrize("coding", [None, "", "identity", "Identity"])
def test_a_plain_body_is_none_of_its_business(coding: str | None) -> None:
    """Nothing is changed, nothing is counted."""
    assert Decompression().begin(request(coding)) is None


@pytest.mark.parametrize("coding", ["compress", "gzip, br", "gzip, gzip", "x" * 9999])
def test_an_unknown_coding_is_415(coding: str) -> None:
    """With those that are known, so that the client can choose."""
    with pytest.raises(RequestRefusedError) as refused:
        Decompression().begin(request(coding))

    problem = refused.value.problem
    assert problem.status == 415
    assert dict(problem.headers)[b"accept-encoding"].startswith(b"gzip, deflate")
    assert len(problem.detail) < 200


def test_windows_larger_than_encoders_use_are_refused() -> None:
    """A reader has to allocate what a sender asks for: 16 MB with brotli, more with zstd."""
    brotli_library, zstd_library = brotli_module(), zstd_module()
    if brotli_library is None or zstd_library is None:
        pytest.skip("an extra is missing")
    noise = random.Random(1).randbytes(5 * MIB)
    options = {
        zstd_library.CompressionParameter.window_log: 23,
        zstd_library.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd_library.ZstdCompressor(options=options)
    huge_zstd = packer.compress(noise) + packer.flush()

    assert refusal(begin("zstd"), [huge_zstd])[0] == 400
    assert refusal(begin("br"), [brotli(noise, lgwin=24)])[0] == 400
    for window_log in range(10, 23):
        packed = brotli(ROWS, lgwin=window_log)
        assert unpack(begin("br"), [packed]) == ROWS


def test_beyond_the_bound_bodies_have_to_wait() -> None:
    """What all decompressors hold is counted; one that is over makes room, however it ended."""
    decompression = Decompression(most_held_bytes=100 * KIB)
    first, second = (decompression.begin(request("gzip")) for _ in range(2))
    assert first is not None
    assert second is not None

    with pytest.raises(RequestRefusedError) as refused:
        decompression.begin(request("gzip"))
    first.close()
    first.close()
    third = decompression.begin(request("gzip"))
    assert third is not None
    assert unpack(third, [gzip.compress(ROWS)]) == ROWS
    del second

    assert refused.value.problem.status == 503
    assert dict(refused.value.problem.headers) == {b"retry-after": b"1"}
    assert decompression.held_bytes == 0


def test_without_memory_for_a_decompressor_none_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a few such moments would have all further bodies refused."""

    def fails(*_: object) -> None:
        raise MemoryError

    decompression = Decompression()
    with monkeypatch.context() as moment:
        moment.setattr(zlib, "decompressobj", fails)
        for _ in range(2):
            with pytest.raises(MemoryError):
                decompression.begin(request("gzip"))
    assert decompression.held_bytes == 0


async def test_the_application_receives_a_plain_body() -> None:
    """Part by part, and after it what else comes."""
    packed = gzip.compress(ROWS)
    arriving: list[Message] = [
        {"type": "http.request", "body": packed[:2000], "more_body": True},
        {"type": "http.request", "body": packed[2000:], "more_body": False},
        {"type": "http.disconnect"},
    ]
    scope = request("gzip", (b"content-length", b"999"), (b"content-type", b"application/json"))
    decoder = Decompression().begin(scope)
    assert decoder is not None

    async def receive() -> Message:
        return arriving.pop(0)

    plain = decoder.receiver(receive)
    messages = [await plain()]
    while messages[-1]["more_body"]:
        messages.append(await plain())

    assert b"".join(message["body"] for message in messages) == ROWS
    assert await plain() == {"type": "http.disconnect"}
    assert decoder.scope(scope)["headers"] == [(b"content-type", b"application/json")]
    assert len(scope["headers"]) == 3


async def test_a_client_that_leaves_is_passed_on() -> None:
    """The application hears of it in the middle of a body."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    assert await begin("gzip").receiver(receive)() == {"type": "http.disconnect"}


def test_the_collector_may_find_what_nobody_has_closed_at_any_line() -> None:
    """Also while its thread begins with the next body, which then does not hang."""
    decompression = Decompression()

    def leave() -> None:
        cycle: list[Any] = [decompression.begin(request("gzip"))]
        cycle.append(cycle)

    def act() -> None:
        decoder = decompression.begin(request("gzip"))
        assert decoder is not None
        decoder.close()

    assert hangs_at("path/decompress.py", leave, act) == []
    assert decompression.held_bytes == 0
