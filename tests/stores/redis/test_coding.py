"""Values as bytes and back."""

from __future__ import annotations

import enum
import json
import pickle
import random
import zlib
from typing import Any

import pytest

from tonnage.errors import StoreError
from tonnage.stores.redis.coding import pack, read, write
from tonnage.stores.redis.layout import AsOf, Layout
from tonnage.stores.redis.layout import read as read_answer
from tonnage.units import KIB, MIB


class Colour(enum.IntEnum):
    """Equal to a number, and none."""

    RED = 1


class Names(dict[str, str]):
    """Equal to a dict, and none."""


def there_and_back(value: object, codec: Any = None) -> object:
    """What is read after it was written."""
    written = write(value, codec)
    assert written is not None
    return read(pack(written), codec, MIB)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**70),
        1.5,
        float("inf"),
        "",
        "Grüße \x00",
        b"",
        b"\x00\xff",
        [],
        {},
        {"a": [1, None, {"b": [True, "c", 0.1]}], "": []},
        ["x" * 100] * 1000,
        random.Random(1).randbytes(20_000),
    ],
)
def test_what_comes_back_is_the_same(value: object) -> None:
    """What comes back is the same, types included."""
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1: "a"},
        {"a": {None: 1}},
        {1, 2},
        object(),
        Colour.RED,
        {"a": [Colour.RED]},
        Names(a="b"),
        bytearray(b"a"),
        {"a": b"bytes"},
        [10**5000],
        "half a \ud800",
    ],
)
def test_what_would_not_is_not_written(value: object) -> None:
    """What would come back as something else is not written."""
    assert write(value) is None


def test_what_holds_itself_or_is_too_deep_is_not_written() -> None:
    """What holds itself, or is too deep, is not written."""
    own: list[object] = []
    own.append(own)
    assert write(own) is None
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert write(deep) is None


def test_with_a_codec_anything_it_can() -> None:
    """With a codec anything that it can write."""
    assert there_and_back((1, {2}), pickle) == (1, {2})
    assert write(lambda: None, pickle) is None


def test_pickle_is_not_read_unless_it_was_asked_for() -> None:
    """Pickle is not read unless it was asked for."""
    pickled = write([1], pickle)
    assert pickled is not None
    with pytest.raises(StoreError, match="reads others"):
        read(pack(pickled), None, MIB)
    with pytest.raises(StoreError, match="reads others"):
        read(b"-j[1]", pickle, MIB)


def test_it_is_compressed_where_that_helps() -> None:
    """It is compressed where it is large and that helps."""
    texts = write(["the same"] * 1000)
    noise = write(random.Random(1).randbytes(8 * KIB))
    assert texts is not None
    assert noise is not None
    assert len(pack(texts)) < len(texts) / 10
    assert len(pack(noise)) == len(noise) + 1
    assert pack(b"b" + b"a" * 1000) == b"-b" + b"a" * 1000


def test_what_unpacks_to_more_than_it_may_is_not_read() -> None:
    """What unpacks to more than it may is not read."""
    bomb = b"z" + zlib.compress(b"b" + bytes(100 * MIB), 9)
    with pytest.raises(StoreError, match="more than 1048576 bytes"):
        read(bomb, None, MIB)
    assert read(b"z" + zlib.compress(b"b" + bytes(1000)), None, 1000) == bytes(1000)


@pytest.mark.parametrize("packed", [b"", b"x", b"-", b"-x", b"z", b"-j", b"-j{", b"?j1"])
def test_rubbish_is_an_error(packed: bytes) -> None:
    """Rubbish is an error."""
    with pytest.raises((StoreError, json.JSONDecodeError, zlib.error)):
        read(packed, None, MIB)


@pytest.mark.parametrize("answer", [[b"E", None, []], [b"E", 5, b"no list"], [None, b"5", []]])
def test_an_answer_of_another_form_is_an_error(answer: list[Any]) -> None:
    """Somebody else may have written under such a key."""
    with pytest.raises(ValueError, match="another form"):
        read_answer(answer, ())


def test_what_was_made_with_a_tag_that_nobody_looked_at_is_not_kept() -> None:
    """It cannot be told whether that was forgotten meanwhile."""
    looked = AsOf(b"", b"1", {b"odd": b"2"})
    layout = Layout("events")
    assert layout.keep("'a'", b"value", 60, ("odd",), looked) is not None
    assert layout.keep("'a'", b"value", 60, ("odd", "new"), looked) is None
