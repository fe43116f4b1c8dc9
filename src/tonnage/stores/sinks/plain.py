"""What JSON has no words for, as what it has: the ``default`` of :func:`json.dumps`.

Times in ISO 8601, numbers and names of other kinds as text, sets as lists. Bytes are refused: there
is no one way to write them.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from uuid import UUID


def plain(value: object) -> object:
    """Return *value* in another way.

    Raises:
        TypeError: there is none.
    """
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (UUID, Decimal, PurePath)):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def as_json(value: object) -> bytes:
    """Return *value* as a text of JSON, without spaces.

    Raises:
        TypeError: something in it has no form in JSON.
        ValueError: a number is none, or it contains itself.
    """
    return json.dumps(value, default=plain, allow_nan=False, separators=(",", ":")).encode()
