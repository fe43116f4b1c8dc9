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
        "42701",  # the same column twice: PostgreSQL cuts long names
        "54011",  # more columns than there can be
        "44000",  # not to be seen in the view that it is for
        "P0001",  # a trigger has refused it
    }
)
LONGEST_REASON: Final = 200

_QUOTED: Final = re.compile(r"'[^']*'?|\"[^\"]*\"?")

#: What drivers raise for a value that they cannot send at all.
UNSENDABLE: Final = (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)

# "Insufficient privilege" is said of a whole table, which is for its owner to change, and of a row
# that a policy forbids. Only the place in PostgreSQL where it is found tells them apart.
_NOT_ALLOWED: Final = "42501"
_OF_A_ROW: Final = "ExecWithCheckOptions"


def is_rejected(error: BaseException) -> bool:
    """Return whether the records are at fault where a driver has raised *error*."""
    state = sqlstate(error)
    if state == _NOT_ALLOWED:
        return _found_in(error) == _OF_A_ROW
    return state[:2] in _CLASSES or state in _STATES


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE that *error* has, by whatever name; empty: it has none."""
    found = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return found if isinstance(found, str) else ""


def _found_in(error: BaseException) -> object:
    """Return which function of PostgreSQL has complained: as asyncpg has it, or psycopg."""
    for each in (error, error.__cause__):
        name = getattr(each, "server_source_function", None)
        if name is not None:
            return name
    return getattr(getattr(error, "diag", None), "source_function", None)


def reason(error: BaseException) -> str:
    """Return what is wrong, in a line, without what the record holds."""
    # SQLAlchemy adds the whole statement.
    error = getattr(error, "orig", None) or error
    told = " ".join(str(error).split())
    # These repeat the value that they complain of, in quotes; the others name columns and types.
    is_of_value = isinstance(error, ValueError) and not isinstance(error, UnicodeError)
    if is_of_value or sqlstate(error).startswith("22"):
        told = _QUOTED.sub("...", told)
    column = getattr(error, "column_name", None)
    where = f"column {column}: " if column else ""
    return f"{where}{type(error).__name__}: {told[:LONGEST_REASON]}"
