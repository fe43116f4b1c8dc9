"""Accept-Encoding is read as RFC 9110 has it, and each coding says what it holds."""

from __future__ import annotations

import sys
import types
from typing import cast

import pytest

from tonnage.web.path.decoders import decoders
from tonnage.web.path.encodings import Coding, codings, taken


class Nothing:
    """A stream that compresses nothing."""

    def compress(self, data: bytes | memoryview) -> bytes:
        """Return what came."""
        return bytes(data)

    def flush(self) -> bytes:
        """Return nothing."""
        return b""

    finish = flush


OFFERED = tuple(
    Coding(name, stream_bytes=1, stream=Nothing, whole=bytes) for name in (b"zstd", b"br", b"gzip")
)


@pytest.mark.parametrize(
    ("accepted", "names"),
    [
        ("", []),
        ("gzip", ["gzip"]),
        ("GZIP", ["gzip"]),
        ("x-gzip", ["gzip"]),
        ("gzip, deflate, br, zstd", ["zstd", "br", "gzip"]),
        ("gzip;q=1.0, br;q=0.5", ["gzip", "br"]),
        ("gzip; q=0.2 ,br ;q = 0.5", ["br", "gzip"]),
        ("gzip;q=0", []),
        ("gzip;q=0, br", ["br"]),
        ("gzip;q=0.000", []),
        ("*", ["zstd", "br", "gzip"]),
        ("*;q=0.5, gzip", ["gzip", "zstd", "br"]),
        ("br, *;q=0", ["br"]),
        ("gzip;q=0, *", ["zstd", "br"]),
        ("identity", []),
        ("identity, gzip", ["gzip"]),
        ("identity;q=0.5, gzip;q=0.4", []),
        ("identity;q=0.5, gzip;q=0.4, br", ["br"]),
        ("identity;q=0, gzip;q=0.1", ["gzip"]),
        ("deflate, compress, dcb", []),
        ("gzip;q=much", []),
        ("gzip;q=nan, br;q=2, zstd;q=-1", []),
        (",, ;q=1, gzip,", ["gzip"]),
        ("gzip;level=9", ["gzip"]),
        ("notgzip, gzipped", []),
    ],
)
def test_codings_come_in_the_order_of_the_client_then_ours(accepted: str, names: list[str]) -> None:
    """A weight of 0 is a refusal, ``*`` stands for what is not named, identity for none at all."""
    client = taken(accepted.encode(), OFFERED)

    assert [coding.name.decode() for coding in client.codings] == names


@pytest.mark.parametrize(
    ("accepted", "identity"),
    [
        ("gzip", True),
        ("gzip, identity;q=0", False),
        ("gzip, *;q=0", False),
        ("gzip, *;q=0, identity;q=0.1", True),
        ("*", True),
        ("", True),
    ],
)
def test_a_client_may_refuse_what_is_not_compressed(accepted: str, identity: bool) -> None:
    """By name, or with all that it does not name."""
    assert taken(accepted.encode(), OFFERED).identity is identity


def test_gzip_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others need packages, or a later Python; without them nothing else changes."""
    for name in ("brotli", "backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)

    assert [coding.name for coding in codings(6)] == [b"gzip"]
    assert list(decoders()) == [b"gzip", b"deflate"]


def test_a_brotli_that_cannot_be_bounded_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 1.2 it unpacks all that it is given in one step."""
    old = types.SimpleNamespace(Decompressor=types.SimpleNamespace(process=len))
    monkeypatch.setitem(sys.modules, "brotli", cast("types.ModuleType", old))

    assert b"br" not in decoders()
