"""Kinds of records: what they become, and what they weigh."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import sys
import tracemalloc
import types
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest
from tests.stores.writer.sinks import Kept

from tonnage import BatchWriter
from tonnage.stores.writer.records import to_mapping, to_mappings
from tonnage.stores.writer.weights import MOST_SCALES, Scales


@dataclass
class Inner:
    """A part."""

    a: int = 1


@dataclass
class Plain:
    """A dataclass with parts."""

    n: int
    inner: Inner = field(default_factory=Inner)
    many: list[Inner] = field(default_factory=lambda: [Inner(2)])


@dataclass(slots=True, frozen=True)
class Slotted:
    """A dataclass without a table."""

    n: int
    text: str = "x"


@dataclass(slots=True)
class Single:
    """One field."""

    n: int


@dataclass
class Keyed:
    """A dataclass with parts by their names."""

    by_name: dict[str, Inner] = field(default_factory=lambda: {"b": Inner()})


@dataclass
class Empty:
    """No field."""


class Struct(msgspec.Struct):
    """A struct with a part."""

    n: int
    at: datetime.date = datetime.date(2026, 1, 2)
    inner: Slotted = Slotted(3)


class Model(pydantic.BaseModel):
    """A model with a part."""

    n: int
    by_name: dict[str, Inner] = {"b": Inner()}


class Named(NamedTuple):
    """A named tuple."""

    n: int
    text: str


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"n": 1}, {"n": 1}),
        (OrderedDict(n=1), {"n": 1}),
        (types.MappingProxyType({"n": 1}), {"n": 1}),
        (Plain(1), {"n": 1, "inner": {"a": 1}, "many": [{"a": 2}]}),
        (Slotted(1), {"n": 1, "text": "x"}),
        (Single(1), {"n": 1}),
        (Keyed(), {"by_name": {"b": {"a": 1}}}),
        (Empty(), {}),
        (
            Struct(1),
            {"n": 1, "at": datetime.date(2026, 1, 2), "inner": {"n": 3, "text": "x"}},
        ),
        (Model(n=1), {"n": 1, "by_name": {"b": {"a": 1}}}),
        (Named(1, "x"), {"n": 1, "text": "x"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_becomes_a_mapping(record: Any, expected: dict[str, Any]) -> None:
    """With its parts; a mapping stays the object that it is."""
    found = to_mapping(record)
    assert dict(found) == expected
    assert (found is record) == isinstance(record, (dict, types.MappingProxyType))
    assert Scales().weigh([record, record]) > 0


async def test_what_is_no_record_is_refused_when_it_is_added() -> None:
    """Not when it is too late."""
    async with BatchWriter("test", Kept()) as writer:
        for each in (1, "text", [1], None, object()):
            with pytest.raises(TypeError, match="a record is a mapping"):
                await writer.add(each)
            with pytest.raises(TypeError, match="a record is a mapping"):
                writer.put_many([each])


async def test_typed_records_reach_the_sink_as_mappings() -> None:
    """Mixed as they come."""
    sink = Kept()
    async with BatchWriter("test", sink) as writer:
        await writer.add_many([Slotted(1), Struct(2), {"n": 3}, Model(n=4), Named(5, "x")])
    assert sink.numbers == [1, 2, 3, 4, 5]


async def test_a_record_that_cannot_become_a_mapping_is_set_aside() -> None:
    """The others are stored."""

    class Broken(pydantic.BaseModel):
        n: int

        @pydantic.model_serializer
        def serialize(self) -> dict[str, Any]:
            raise ValueError("broken")

    sink = Kept()
    async with BatchWriter("test", sink) as writer:
        await writer.add_many([{"n": 1}, Broken(n=2), {"n": 3}])
        await writer.flush()
        assert writer.statistics().total_failed == 1
        assert "broken" in writer.rejected()[0].reason
    assert sink.numbers == [1, 3]


def _flat(n: int) -> dict[str, Any]:
    # As json.loads makes them: each with names of its own.
    record: dict[str, Any] = json.loads(
        json.dumps(
            {"id": n + 1000, "name": f"user {n}", "amount": n * 1.5, "note": "é" * (n % 200)}
        )
    )
    return record


def _literal(n: int) -> dict[str, Any]:
    return {"id": n + 1000, "name": f"user {n}", "amount": n * 1.5, "note": "x" * (n % 200)}


def _dated(n: int) -> dict[str, Any]:
    return {
        "".join(("at", str(n))): datetime.datetime(2026, 1, 1 + n % 28, n % 24),
        "".join(("id", str(n))): uuid.UUID(int=n + 2**100),
        "".join(("sum", str(n))): decimal.Decimal(n * 1000) / 7,
    }


def _nested(n: int) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(
        json.dumps({"id": n + 1000, "parts": [{"a": f"b{n}", "c": [n + 500] * (n % 9)}] * (n % 4)})
    )
    return record


def _slotted(n: int) -> Slotted:
    return Slotted(n + 1000, "x" * (n % 300))


@pytest.mark.parametrize("make", [_flat, _literal, _dated, _nested, _slotted])
def test_weights_are_near_what_python_takes(make: Callable[[int], Any]) -> None:
    """At most a tenth less, and 40 % more: the allocator rounds up."""
    make(0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        records = [make(n) for n in range(2000)]
        real = tracemalloc.get_traced_memory()[0] - before - sys.getsizeof(records)
    finally:
        tracemalloc.stop()
    scales = Scales()
    found = sum(scales.weigh(records[n : n + 100]) for n in range(0, 2000, 100))
    assert 0.9 < found / real < 1.4, f"{found} counted, {real} taken"
    assert 0.9 < sum(map(scales.weigh_one, records)) / real < 1.4


def test_one_large_value_among_many_small_ones_is_not_missed() -> None:
    """Wherever it lies."""
    scales = Scales()
    large = 1_000_000
    values: list[Any] = [
        "x" * large,
        b"x" * large,
        ["x" * large],
        {"a": {"b": "x" * large}},
        Slotted(1, "x" * large),
    ]
    for value in values:
        scales.weigh([{"n": n} for n in range(1000)])
        assert scales.weigh_one({"n": value}) > large
        assert scales.weigh([{"n": 1}, {"n": value}, {"n": 2}]) > large
        assert scales.weigh([Single(1), Single(value)]) > large


def test_kinds_that_are_made_as_it_runs_are_weighed_and_not_kept() -> None:
    """Who makes a class for each record weighs them all; so many kinds are remembered."""
    scales = Scales()
    kinds = [make_dataclass(f"Kind{number}", [("n", int)]) for number in range(MOST_SCALES + 2)]
    weights = {scales.weigh_one(kind(1)) for kind in (*kinds, *kinds)}
    assert len(weights) == 1
    assert len(scales.ready) == MOST_SCALES


def test_members_of_an_enumeration_cost_nothing() -> None:
    """They are there anyway."""
    kind = enum.Enum("kind", "click view")
    scales = Scales()
    with_member = scales.weigh_one({"n": kind.click})
    assert with_member <= scales.weigh_one({"n": 1000})


def test_many_mappings_are_not_copied() -> None:
    """They are the same objects."""
    records = [{"n": n} for n in range(10)]
    assert all(a is b for a, b in zip(records, to_mappings(records), strict=True))
