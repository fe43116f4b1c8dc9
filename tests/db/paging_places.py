"""Places that a client may make up, for columns of all kinds."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Time,
    Uuid,
    select,
)
from tests.db.paging_lists import Colour

from tonnage.db.paging.cursors import Cursors
from tonnage.db.paging.order import order_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Dialect

    from tonnage.db.paging.asking import AnySelect

_KINDS: Final[list[Any]] = [
    *(Integer, SmallInteger, BigInteger),
    *(Float, Float(24), Float(asdecimal=True), REAL),
    *(Numeric, Numeric(10, 2), Numeric(4)),
    *(DateTime, DateTime(timezone=True), Date, Time, Time(timezone=True), Interval),
    *(String(5), Enum(Colour), Uuid, Uuid(as_uuid=False), LargeBinary, Boolean),
]
#: A column of each kind.
PLACES: Final = Table(
    "places",
    MetaData(),
    Column("id", Integer, primary_key=True),
    *(Column(f"value_{at}", kind) for at, kind in enumerate(_KINDS)),
)

#: As they stand in a cursor.
_MADE_UP: Final[list[Any]] = [
    *("x", "", "9" * 3000, "\ud800", "\x00", "RED"),
    *("12345678-1234-5678-1234-567812345678", "{12345678123456781234567812345678}"),
    *(0, -1, 2**15, 2**31, 2**62, 2**63, -(2**63), 2**70, 1.5, 1e308, 5e-324, -0.0),
    *(float("nan"), float("inf"), -float("inf"), None, True),
    *(
        ["Decimal", text]
        for text in ("1", "NaN", "sNaN", "Infinity", "1E+999", "1E-999", "9" * 2000)
    ),
    *(["Decimal", text] for text in ("99999999.99", "99999999.996", "9999.5", "1.5")),
    *(
        ["datetime", text]
        for text in (
            "2020-01-01T00:00:00",
            "2020-01-01T00:00:00+00:00",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "2020-01-01T00:00:00+23:59",
            "2020-01-01T00:00:00+00:00:00.000001",
        )
    ),
    *(["date", text] for text in ("0001-01-01", "9999-12-31")),
    *(["time", text] for text in ("00:00:00", "00:00:00+23:59", "00:00:00-00:00:01", "12:00+02")),
    *(
        ["timedelta", text]
        for text in ("1", "9999999999999999999", "86399999999999999999", "-86399999900000000000")
    ),
    ["UUID", "12345678123456781234567812345678"],
    *(["bytes", text] for text in ("AAEC", "")),
]


def made_up_places(dialect: Dialect) -> Iterator[tuple[str, AnySelect, str]]:
    """Yield what each is, a list in the order of one column, and the cursor of a place in it."""
    columns = [column for column in PLACES.c if column.name != "id"]
    for column in [*columns, (PLACES.c.value_0 + PLACES.c.value_1).label("sum")]:
        statement = select(PLACES.c.id).order_by(column)
        words = words_of(order_of(statement, dialect), dialect)
        order = json.loads(_decoded(Cursors(words).write([1, 1])))[0]
        for value in _MADE_UP:
            said = json.dumps([order, value, 1]).encode()
            cursor = base64.urlsafe_b64encode(said).rstrip(b"=").decode()
            yield f"{column.type!r}: {value!r:.60}", statement, cursor


def _decoded(cursor: str) -> bytes:
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
