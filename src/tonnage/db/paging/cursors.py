"""A place in a list as a text that a client keeps, and back.

    cursors = Cursors("event.starts_at ASC, event.id ASC", secret=b"...")
    text = cursors.write([datetime(2026, 1, 1), 7])
    cursors.read(text)                                  # (datetime(2026, 1, 1), 7)

Promises: what is read is what was written, exactly, types included. A cursor of a list in another
order is refused; with a secret, one that was not made with it, too (HMAC-SHA256, compared in
constant time).

Does not hide what it holds: a client that cares can read the last row's values of the columns that
the list is ordered by. Without a secret a client can also make up a place; it gets no more by that
than the list itself would show it.

Bounded: :data:`MOST_CHARACTERS`, written and read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from tonnage.errors import ConfigError, DatabaseError, PageCursorError
from tonnage.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Longer cursors are neither made nor read; addresses of 8 KB pass everywhere.
MOST_CHARACTERS: Final = 4096
#: Of HMAC-SHA256, the first so many bytes.
MAC_BYTES: Final = 16
#: What a secret has to have at least, in bytes.
LEAST_SECRET_BYTES: Final = 16

_AS_JSON: Final = frozenset({type(None), bool, int, float, str})
# By the name of the type, since a datetime is a date too.
_KINDS: Final[dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "timedelta": (
        timedelta,
        lambda value: str(value // timedelta(microseconds=1)),
        lambda text: timedelta(microseconds=int(text)),
    ),
    "Decimal": (Decimal, str, Decimal),
    "UUID": (UUID, str, UUID),
    "bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
}


class Cursors:
    """Writes and reads the cursors of lists that have the same order.

    Args:
        order: what the list is ordered by, in any words that name this order only.
        secret: what signs them; None: they are not signed.

    Raises:
        ConfigError: the secret is shorter than :data:`LEAST_SECRET_BYTES`.
    """

    def __init__(self, order: str, secret: str | bytes | None = None) -> None:
        self._secret = secret.encode() if isinstance(secret, str) else secret
        if self._secret is not None and len(self._secret) < LEAST_SECRET_BYTES:
            raise ConfigError(f"a secret for cursors needs {LEAST_SECRET_BYTES} bytes or more")
        self._order = _text_of(hashlib.sha256(order.encode(errors="replace")).digest()[:6])

    def write(self, values: Sequence[object]) -> str:
        """Return the cursor of the row that has *values* in the columns of the order.

        Raises:
            DatabaseError: a value is of a type that cursors do not hold, or too long.
        """
        said = json.dumps([self._order, *map(_written, values)], separators=(",", ":")).encode()
        text = _text_of(said if self._secret is None else self._mac(said) + said)
        if len(text) > MOST_CHARACTERS:
            raise DatabaseError(
                f"a cursor would have {len(text)} characters, and {MOST_CHARACTERS} are the most:"
                " order the list by shorter columns"
            )
        return text

    def read(self, text: str, count: int) -> tuple[Any, ...]:
        """Return the *count* values that *text* holds.

        Raises:
            PageCursorError: it is no cursor, or not one of this list.
        """
        if len(text) > MOST_CHARACTERS:
            raise refused(f"it has more than {MOST_CHARACTERS} characters")
        try:
            said = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        except ValueError:
            raise refused("it is damaged") from None
        if self._secret is not None:
            mac, said = said[:MAC_BYTES], said[MAC_BYTES:]
            if not hmac.compare_digest(mac, self._mac(said)):
                raise refused("it was not made here")
        try:
            order, *values = json.loads(said)
            found = tuple(map(_read, values))
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            raise refused("it is damaged") from None
        if order != self._order or len(found) != count:
            raise refused("it belongs to a list in another order")
        return found

    def _mac(self, said: bytes) -> bytes:
        assert self._secret is not None
        # With the order, though that is in it already: a list is signed for itself alone.
        return hmac.digest(self._secret, self._order.encode() + said, "sha256")[:MAC_BYTES]


def refused(reason: str) -> PageCursorError:
    """Return the refusal of a cursor, which says what to do about it."""
    return PageCursorError(
        Problem(
            400,
            "bad_cursor",
            f"the cursor cannot be used: {reason}; leave it out to begin with the first page, and"
            " take the next one's from there as it is",
        )
    )


def _written(value: object) -> object:
    if type(value) in _AS_JSON:
        return value
    for name, (kind, write, _) in _KINDS.items():
        if isinstance(value, kind):
            return [name, write(value)]
    # A text with a name of its own, as of an enumeration, is still a text.
    if isinstance(value, str):
        return str.__str__(value)
    raise DatabaseError(
        f"a cursor cannot hold {type(value).__name__}: order the list by numbers, texts, moments,"
        " UUIDs or bytes"
    )


def _read(said: Any) -> Any:
    if not isinstance(said, list):
        if type(said) not in _AS_JSON:
            raise TypeError("it is an object")
        return said
    name, text = said
    if not isinstance(text, str):
        raise TypeError("it holds no text")
    return _KINDS[name][2](text)


def _text_of(said: bytes) -> str:
    return base64.urlsafe_b64encode(said).rstrip(b"=").decode()
