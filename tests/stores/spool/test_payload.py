"""A record as bytes, and back."""

from __future__ import annotations

import enum
import pickle
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonnage.errors import RecordsRejectedError
from tonnage.stores.writer.spool.payload import decode, encode

_SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=5))
def test_what_went_in_comes_out(record: dict[str, Any]) -> None:
    """What went in comes out."""
    assert decode(encode(record)) == record


def test_types_stay() -> None:
    """Types stay."""
    record: dict[str, Any] = {
        "zone": datetime(2026, 3, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),
        "offset": datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=2))),
        "fold": datetime(2026, 10, 25, 2, 30, fold=1),
        "date": date(2026, 3, 1),
        "time": time(12, 30),
        "tuple": (1, 2),
        "sets": [{1}, frozenset({2})],
        "id": uuid4(),
        "price": Decimal("1.10"),
        "bytes": bytearray(b"x"),
    }
    back = decode(encode(record))
    assert back == record
    assert [type(each) for each in back.values()] == [type(each) for each in record.values()]
    assert str(back["price"]) == "1.10"
    assert back["zone"].tzinfo.key == "Europe/Berlin"
    assert back["fold"].fold == 1


class _Kind(enum.StrEnum):
    CLICK = "click"


class _Level(enum.IntEnum):
    HIGH = 3


class _DriversId(UUID):
    pass


class _Celsius(float):
    def __float__(self) -> float:
        return 0.0


class _Rows(list[int]):
    pass


class _Raw(bytes):
    pass


def test_subclasses_of_plain_types_come_back_as_these() -> None:
    """Subclasses of plain types come back as these, by what they hold and not what they say."""
    own = uuid4()
    back = decode(encode({"kind": _Kind.CLICK, "level": _Level.HIGH, "id": _DriversId(own.hex)}))
    assert back == {"kind": "click", "level": 3, "id": own}
    assert [type(each) for each in back.values()] == [str, int, UUID]
    back = decode(encode({"heat": _Celsius(36.6), "rows": _Rows([1]), "raw": _Raw(b"x")}))
    assert back == {"heat": 36.6, "rows": [1], "raw": b"x"}
    assert [type(each) for each in back.values()] == [float, list, bytes]


class _Strange:
    def __reduce__(self) -> Any:
        return print, ("called",)


@pytest.mark.parametrize("value", [_Strange(), object(), Path("/"), print, lambda: 0, range(3)])
def test_what_could_not_be_read_back_is_refused_by_name(value: object) -> None:
    """What could not be read back is refused by name."""
    with pytest.raises(RecordsRejectedError, match=type(value).__qualname__):
        encode({"it": [value]})


def test_reading_calls_nothing_but_plain_types(capsys: pytest.CaptureFixture[str]) -> None:
    """Reading calls nothing but plain types."""
    with pytest.raises(RecordsRejectedError, match="print"):
        decode(pickle.dumps({"it": _Strange()}))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("payload", [b"", b"rubbish", pickle.dumps([1]), encode({"a": 1})[:-1]])
def test_what_is_no_record_is_said_to_be_none(payload: bytes) -> None:
    """What is no record is said to be none."""
    with pytest.raises(RecordsRejectedError, match="cannot be read"):
        decode(payload)
