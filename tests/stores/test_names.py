"""Keys as texts that mean the same in every process, and back."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Hashable
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonnage.errors import StoreError
from tonnage.stores.names import MOST_CHARACTERS, MOST_DEPTH, digest_of, key_of, name_of

UUID_7 = UUID("12345678-1234-5678-1234-567812345678")

leaves = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=20),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.uuids(),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=5)))),
)
keys = st.recursive(leaves, lambda each: st.lists(each, max_size=4).map(tuple), max_leaves=8)


@given(keys)
def test_a_name_leads_back_to_its_key(key: Hashable) -> None:
    """A name leads back to its key."""
    name = name_of(key)
    assert name is not None
    if len(name) <= MOST_CHARACTERS:
        assert key_of(name) == key


@given(keys, keys)
def test_names_are_equal_where_keys_are(one: Hashable, other: Hashable) -> None:
    """And differ where they differ."""
    assert (one == other) == (name_of(one) == name_of(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (1.0, 1),
        (0.0, -0.0),
        (("a", (False,)), ("a", (0,))),
        (
            datetime(2026, 1, 1, 12, tzinfo=UTC),
            datetime(2026, 1, 1, 17, tzinfo=timezone(timedelta(hours=5))),
        ),
    ],
)
def test_what_is_one_key_in_a_dict_has_one_name(one: Hashable, other: Hashable) -> None:
    """What is one key in a dict has one name."""
    assert one == other
    assert name_of(one) == name_of(other)


class _Colour(Enum):
    RED = "red"


class _Text(str):
    __slots__ = ()


def nested(depth: int) -> Hashable:
    """Return a tuple within so many others."""
    key: Hashable = ()
    for _ in range(depth):
        key = (key,)
    return key


@pytest.mark.parametrize(
    "key", [object(), _Colour.RED, _Text("a"), math.nan, math.inf, frozenset({1}), ("a", (int,))]
)
def test_other_keys_have_no_name(key: Hashable) -> None:
    """They mean something in their own process only."""
    assert name_of(key) is None


def test_depth_is_bounded() -> None:
    """Depth is bounded."""
    assert name_of(nested(MOST_DEPTH - 1)) is not None
    assert name_of(nested(MOST_DEPTH)) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "1 +",
        "[1]",
        "([],)",
        "{}",
        "open('x')",
        "__import__('os').system('x')",
        "UUID('x')",
        "UUID(1)",
        "date('yesterday')",
        "UUID('a', 'b')",
        "('x' for x in y)",
        "(" * 300,
        "'" + "x" * MOST_CHARACTERS + "'",
        "'\0'",
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    """And nothing of it is run."""
    with pytest.raises(StoreError, match=r"is no key's name"):
        key_of(name)


def test_names_and_digests_are_the_same_in_every_process() -> None:
    """Whatever its hashes begin with."""
    key = ("app.load", ("ü", 7, UUID_7, date(2026, 1, 1)))
    name = name_of(key)
    assert name == f"('app.load', ('ü', 7, UUID('{UUID_7}'), date('2026-01-01')))"
    program = (
        "import sys; from tonnage.stores.names import digest_of;"
        " print(digest_of(sys.argv[1]).hex())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, name], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == digest_of(name).hex()
