"""Whether a value that a client has sent can be compared with a column at all.

Promises: what passes here does not fail in a driver. Cursors that are not signed may hold anything:
a text for a number, a number that the column's type has no room for, a NULL that cannot be. Those
are to be told from errors of the application.

Decides only. For types that SQLAlchemy knows nothing of, such as those of functions of the
database, and for those of the application, any value passes: sign the cursors of such a list.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    Numeric,
    SmallInteger,
    Time,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.types import NullType

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect

    from tonnage.db.paging.order import Key

#: Of a number, before or after its point; a cursor has no room for many more.
_MOST_DIGITS: Final = 1000
_MOST_INTEGER: Final = 1 << 63
#: Of a zone from UTC; PostgreSQL has no more.
_MOST_OFFSET: Final = timedelta(hours=16)
#: Where SQLAlchemy counts intervals from, in databases that have no such type.
_EPOCH: Final = datetime(1970, 1, 1)
_NUMBERS: Final = (int, float, Decimal)


def fits(value: Any, key: Key, dialect: Dialect) -> bool:
    """Return whether *value* can be a place in the order of *key*."""
    if value is None:
        return key.may_be_null
    if not _can_be_sent(value):
        return False
    kind = key.expression.type
    for known, is_fitting in _BY_KIND:
        if isinstance(kind, known):
            return is_fitting(value, key, dialect)
    if isinstance(kind, (NullType, TypeDecorator)):
        return True
    try:
        return type(value) is kind.python_type
    except NotImplementedError:
        return True


def _can_be_sent(value: Any) -> bool:
    """Return whether *value* is one that databases have at all."""
    if isinstance(value, str):
        return _is_plain(value)
    if isinstance(value, Decimal):
        return not value.is_snan() and (
            not value.is_finite() or abs(value.adjusted()) <= _MOST_DIGITS
        )
    if isinstance(value, int):
        return -_MOST_INTEGER <= value < _MOST_INTEGER
    return True


def _is_plain(text: str) -> bool:
    """Return whether *text* can be sent: no half of a character, and no NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _fits_enumeration(value: Any, key: Key, _: Dialect) -> bool:
    kind: Any = key.expression.type
    return isinstance(value, str) and value in kind.enums


def _fits_integer(value: Any, key: Key, dialect: Dialect) -> bool:
    if dialect.name == "sqlite":
        # It has numbers of any kind in a column of any; its driver takes these.
        return type(value) in (int, float)
    if isinstance(value, Decimal):
        # What a sum of integers is. A column of them has none.
        return value.is_finite() and not isinstance(key.expression, Column)
    room = _room_of(key) if dialect.name == "postgresql" else _MOST_INTEGER
    return type(value) is int and -room <= value < room


def _room_of(key: Key) -> int:
    """Return the first number too large for an integer of *key*."""
    kind = key.expression.type
    if not isinstance(key.expression, Column):
        return _MOST_INTEGER
    if isinstance(kind, SmallInteger):
        return 1 << 15
    return _MOST_INTEGER if isinstance(kind, BigInteger) else 1 << 31


def _fits_float(value: Any, key: Key, dialect: Dialect) -> bool:
    kind: Any = key.expression.type
    if type(value) not in _NUMBERS:
        return False
    # In PostgreSQL: elsewhere this length is one of decimal digits, or says nothing.
    is_short = dialect.name == "postgresql" and (
        isinstance(kind, REAL) or (kind.precision is not None and kind.precision <= 24)
    )
    try:
        near = struct.unpack("f", struct.pack("f", value))[0] if is_short else float(value)
    except OverflowError:
        return False
    # What is too large for it, or too small, is an error in PostgreSQL, and neither infinite nor 0.
    return bool(near) == bool(value) and (
        isnan(value) or isfinite(near) == Decimal(value).is_finite()
    )


def _fits_numeric(value: Any, key: Key, dialect: Dialect) -> bool:
    kind: Any = key.expression.type
    if type(value) not in _NUMBERS:
        return False
    # This driver makes a place a number of the column's length, rounded.
    if dialect.driver != "asyncpg" or kind.precision is None or isnan(value):
        return True
    scale = kind.scale or 0
    return Decimal(value).is_finite() and (
        abs(Fraction(value)) < Fraction(10) ** (kind.precision - scale) - Fraction(10) ** -scale / 2
    )


def _fits_moment(value: Any, key: Key, dialect: Dialect) -> bool:
    kind: Any = key.expression.type
    if type(value) is not kind.python_type:
        return False
    offset = value.utcoffset()
    # This driver compares no moment with a zone to one without.
    if dialect.driver == "asyncpg" and (offset is not None) != kind.timezone:
        return False
    return offset is None or _has_zone(value, offset)


def _has_zone(value: datetime | time, offset: timedelta) -> bool:
    """Return whether *value* is a moment in UTC too, and its zone one of whole seconds."""
    if offset.microseconds or abs(offset) >= _MOST_OFFSET:
        return False
    try:
        return not isinstance(value, datetime) or bool(value.astimezone(UTC))
    except OverflowError:
        return False


def _fits_interval(value: Any, key: Key, dialect: Dialect) -> bool:
    kind: Any = key.expression.type
    if type(value) is not timedelta:
        return False
    if dialect.name == "postgresql" and kind.native:
        return True
    try:
        return bool(_EPOCH + value)
    except OverflowError:
        return False


def _fits_uuid(value: Any, key: Key, _: Dialect) -> bool:
    kind: Any = key.expression.type
    if kind.as_uuid:
        return type(value) is UUID
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False


#: The first that a type is one of says it.
_BY_KIND: Final[tuple[tuple[type[Any], Callable[[Any, Key, Dialect], bool]], ...]] = (
    (Enum, _fits_enumeration),
    (Integer, _fits_integer),
    (Float, _fits_float),
    (Numeric, _fits_numeric),
    (DateTime, _fits_moment),
    (Time, _fits_moment),
    (Interval, _fits_interval),
    (Uuid, _fits_uuid),
)
