"""A record as bytes, and back: pickle, of plain values alone.

Promises: what comes back equals what went in, with its types: dates, times with their zone, UUIDs
and decimals as well as what JSON knows, bytes, tuples and sets. A value of another type is refused
before it is written, by name. Reading calls nothing but these types, whatever the file holds.

Pickle, since JSON and MessagePack would hand dates, UUIDs and decimals back as text, and a sink
would have to know which text was what; its format is the same for all versions of Python from 3.8
on, so that an update finds what the version before has left. Subclasses of plain types (an enum of
texts, a driver's own UUID) come back as the plain type.
"""

from __future__ import annotations

import io
import pickle
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from tonnage.errors import RecordsRejectedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROTOCOL: Final = 5
_PLAIN: Final = (str, int, float, bytes, bytearray, list, tuple, dict, set, frozenset, complex)
_NAMED: Final[dict[tuple[str, str], type]] = {
    ("datetime", "date"): date,
    ("datetime", "datetime"): datetime,
    ("datetime", "time"): time,
    ("datetime", "timedelta"): timedelta,
    ("datetime", "timezone"): timezone,
    ("decimal", "Decimal"): Decimal,
    ("uuid", "UUID"): UUID,
} | {("builtins", kind.__name__): kind for kind in _PLAIN}
_ALLOWED: Final = frozenset(_NAMED.values())


def encode(record: Mapping[str, Any]) -> bytes:
    """Return *record* as bytes.

    Raises:
        RecordsRejectedError: it holds something that could not be read back.
    """
    written = io.BytesIO()
    try:
        _Pickler(written, _PROTOCOL).dump(record if type(record) is dict else dict(record))
    except RecordsRejectedError:
        raise
    except Exception as error:
        # Whatever a strange value does when it is looked at.
        raise RecordsRejectedError(f"a record cannot be kept on disk: {error}") from error
    return written.getvalue()


def decode(payload: bytes) -> dict[str, Any]:
    """Return the record that *payload* was made of.

    Raises:
        RecordsRejectedError: it was made otherwise.
    """
    try:
        record = _Unpickler(io.BytesIO(payload)).load()
    except Exception as error:
        # A pickle may fail in many ways; each means that it is none of ours.
        raise RecordsRejectedError(f"a record on disk cannot be read: {error}") from error
    if type(record) is not dict:
        raise RecordsRejectedError("a record on disk cannot be read: it is no record")
    return record


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        """Let plain types and their subclasses pass, and nothing else."""
        kind = type(value)
        if kind in _ALLOWED and kind is not UUID:
            return NotImplemented
        if kind is type and (value in _ALLOWED or _is_zone(value)):
            return NotImplemented
        if isinstance(value, UUID):
            # 16 bytes instead of a number of 39 digits.
            return UUID, (None, value.bytes)
        if _is_zone(kind) and value.key is not None:
            return kind, (value.key,)
        for plain in _PLAIN:
            if isinstance(value, plain):
                # As the plain type has it: an enum of texts would say its name.
                return plain, (plain(_bare(plain, value)),)
        raise RecordsRejectedError(
            f"a record cannot be kept on disk with a {kind.__module__}.{kind.__qualname__} in it:"
            " plain values only, such as text, numbers, dates, UUIDs, lists and dicts of these"
        )


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a plain type, and nothing else."""
        if (module, name) == ("zoneinfo", "ZoneInfo"):
            from zoneinfo import ZoneInfo

            return ZoneInfo
        found = _NAMED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong there")
        return found


def _is_zone(kind: type) -> bool:
    # By its name, since the module is large and seldom there.
    return (kind.__module__, kind.__qualname__) == ("zoneinfo", "ZoneInfo")


def _bare(plain: type, value: Any) -> Any:
    """Return *value*, an instance of a subclass of *plain*, without what the subclass says."""
    if plain is str:
        return str.__str__(value)
    if plain in (int, float):
        return plain.__add__(value, 0)
    return value
