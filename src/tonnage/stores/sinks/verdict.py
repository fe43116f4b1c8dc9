"""Whose fault it is that a database did not take records: theirs, or that of the moment.

Pure: by SQLSTATE, the five letters that the SQL standard has for what went wrong. What is not
listed here is of the moment, and tried again: in doubt, nothing is thrown away.
"""

from __future__ import annotations

import re
from typing import Final

#: Data exceptions (too long, out of range, no such character) and broken constraints.
_CLASSES: Final = ("22", "23")
_STATES: Final = frozenset(
    {
        "42703",  # no such column
        "428C9",  # a column that the database makes itself
        "42804",  # a value of another type than its column's
        "54000",  # larger than an index can hold
        "P0001",  # a trigger has refused it
    }
)
LONGEST_REASON: Final = 200

_QUOTED: Final = re.compile(r"'[^']*'?|\"[^\"]*\"?")

#: What drivers raise for a value that they cannot send at all.
UNSENDABLE: Final = (TypeError, ValueError, ArithmeticError, AttributeError)


def is_rejected(sqlstate: object) -> bool:
    """Return whether the records are at fault where a database has answered *sqlstate*."""
    return isinstance(sqlstate, str) and (sqlstate[:2] in _CLASSES or sqlstate in _STATES)


def reason(error: BaseException) -> str:
    """Return what is wrong, in a line, without what the record holds."""
    told = " ".join(str(error).split())
    state = getattr(error, "sqlstate", None)
    # These repeat the value that they complain of, in quotes; the others name columns and types.
    is_of_value = isinstance(error, ValueError) and not isinstance(error, UnicodeError)
    if is_of_value or (isinstance(state, str) and state.startswith("22")):
        told = _QUOTED.sub("...", told)
    column = getattr(error, "column_name", None)
    where = f"column {column}: " if column else ""
    return f"{where}{type(error).__name__}: {told[:LONGEST_REASON]}"
