"""Places in lists as texts: exact, bounded, and nobody else's."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonnage.db.paging.cursors import MOST_CHARACTERS, Cursors
from tonnage.errors import ConfigError, DatabaseError, PageCursorError

SECRET = b"sixteen bytes it is"
ZONES = st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=-5, minutes=-30)))

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.dates(),
    st.times(timezones=st.none()),
    st.datetimes(timezones=ZONES),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)


def encoded(said: Any) -> str:
    """Return *said* as a client would make a cursor of it."""
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


def order_in(cursor: str) -> Any:
    """Return what names the order in a cursor that is not signed."""
    return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[0]


@given(st.lists(values, max_size=4), st.sampled_from([None, SECRET]))
def test_what_is_read_is_what_was_written(place: list[object], secret: bytes | None) -> None:
    """With its types: 1, 1.0 and True are three."""
    cursors = Cursors("id ASC", secret)
    found = cursors.read(cursors.write(place), len(place))
    assert list(found) == place
    assert [type(each) for each in found] == [type(each) for each in place]
    # The zone of a moment, and the sign of a zero.
    assert list(map(repr, map(_plain, found))) == list(map(repr, map(_plain, place)))


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, (datetime, date, time)) else value


def test_cursors_are_for_addresses() -> None:
    """Nothing in one needs to be written in another way in a URL."""
    text = Cursors("id ASC", SECRET).write([b"\xff\xfe\xfd" * 5, "ä?/&+ ", Decimal("1.50")])
    assert text.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: encoded(raw.hex())))
def test_nonsense_is_refused(text: str) -> None:
    """With 400, saying what to do."""
    for secret in (None, SECRET):
        with pytest.raises(PageCursorError, match="leave it out") as caught:
            Cursors("id ASC", secret).read(text, 1)
        assert caught.value.problem.status == 400


@pytest.mark.parametrize(
    "said",
    [
        {},
        [],
        "text",
        7,
        [["UUID", "no"]],
        [["UUID", 7]],
        [["nobody", "7"]],
        [["datetime", "yesterday"]],
        [["Decimal", "a lot"]],
        [["bytes", "é"]],
        [["timedelta", "9" * 30]],
        [[[]]],
        [{}],
        ["1", "2"],
    ],
)
def test_places_that_are_made_up_are_refused(said: Any) -> None:
    """As long as they have no sense; those that have are places in this list like others."""
    cursors = Cursors("id ASC")
    order = order_in(cursors.write([1]))
    made_up = encoded([order, *said] if isinstance(said, list) else said)
    with pytest.raises(PageCursorError):
        cursors.read(made_up, 1)
    assert cursors.read(encoded([order, 12]), 1) == (12,)


def test_a_list_in_another_order_has_other_cursors() -> None:
    """Or a client would go on at a place of another list."""
    text = Cursors("starts_at ASC, id ASC").write([3, 4])
    for other in ("starts_at DESC, id DESC", "ends_at ASC, id ASC"):
        with pytest.raises(PageCursorError, match="another order"):
            Cursors(other).read(text, 2)


def test_signed_cursors_are_those_made_here() -> None:
    """Not changed, not made with another secret, not made without."""
    cursors = Cursors("id ASC", SECRET)
    text = cursors.write([7])
    assert cursors.read(text, 1) == (7,)
    others = [
        text[:-2] + ("AA" if text[-2:] != "AA" else "BB"),
        ("A" if text[0] != "A" else "B") + text[1:],
        Cursors("id ASC", SECRET + b"!").write([7]),
        Cursors("id ASC").write([7]),
        "",
    ]
    for other in others:
        with pytest.raises(PageCursorError, match="not made here"):
            cursors.read(other, 1)


def test_secrets_are_long() -> None:
    """A short one could be tried out."""
    with pytest.raises(ConfigError, match="16 bytes"):
        Cursors("id ASC", "short")


def test_cursors_are_short() -> None:
    """Whether they are made here, or come from outside."""
    cursors = Cursors("title ASC")
    with pytest.raises(DatabaseError, match="shorter columns"):
        cursors.write(["x" * MOST_CHARACTERS])
    with pytest.raises(PageCursorError, match="more than 4096"):
        cursors.read("A" * (MOST_CHARACTERS + 1), 1)


def test_what_a_cursor_cannot_hold_is_named() -> None:
    """So that another order is chosen."""
    with pytest.raises(DatabaseError, match="cannot hold list"):
        Cursors("tags ASC").write([["a"]])
