"""Whether a value that a client has sent can be compared with a column at all.

Promises: what passes here does not fail in a driver. Cursors that are not signed may hold anything:
a text for a number, a number that the column's type has no room for, a NULL that cannot be. Those
are to be told from errors of the application.

Decides only. For types that SQLAlchemy knows nothing of, such as those of functions of the
database, and for those of the application, any value passes: sign the cursors of such a list.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Enum, Integer, SmallInteger, TypeDecorator
from sqlalchemy.types import NullType

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from tonnage.db.paging.order import Key

#: Of a number, before or after its point; a cursor has no room for many more.
_MOST_DIGITS: Final = 1000
_MOST_INTEGER: Final = 1 << 63
_NUMBERS: Final = (int, float, Decimal)


def fits(value: Any, key: Key, dialect: str) -> bool:
    """Return whether *value* can be a place in the order of *key*."""
    if value is None:
        return key.may_be_null
    kind = key.expression.type
    if (isinstance(value, str) and not _is_plain(value)) or (
        isinstance(value, Decimal) and not _is_usual(value)
    ):
        return False
    if isinstance(kind, Enum):
        return isinstance(value, str) and value in kind.enums
    if isinstance(kind, (NullType, TypeDecorator)):
        return True
    try:
        wanted = kind.python_type
    except NotImplementedError:
        return True
    if wanted is bool or isinstance(value, bool):
        return wanted is bool and isinstance(value, bool)
    if wanted is int and dialect != "sqlite":
        return isinstance(value, int) and -_room_of(kind) <= value < _room_of(kind)
    if wanted in _NUMBERS:
        # SQLite has numbers of any kind in a column of any.
        return isinstance(value, _NUMBERS) and (
            not isinstance(value, int) or -_MOST_INTEGER <= value < _MOST_INTEGER
        )
    return type(value) is wanted


def _room_of(kind: TypeEngine[Any]) -> int:
    """Return the first number too large for an integer of *kind*."""
    if isinstance(kind, SmallInteger):
        return 1 << 15
    if isinstance(kind, Integer) and not isinstance(kind, BigInteger):
        return 1 << 31
    return _MOST_INTEGER


def _is_usual(number: Decimal) -> bool:
    """Return whether *number* is one that databases have room for."""
    return not number.is_snan() and (
        not number.is_finite() or abs(number.adjusted()) <= _MOST_DIGITS
    )


def _is_plain(text: str) -> bool:
    """Return whether *text* can be sent: no half of a character, and no NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
