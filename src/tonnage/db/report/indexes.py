"""Which indexes are there twice, which nobody needs, and where one is missing: decided, not asked.

Promises: nothing that a constraint stands on is called superfluous; of two that do the same, the
one to drop is never the primary key's. Pure, and the same for every kind of database.

An index says more than its columns: each key here is the column with all that goes with it (order,
collation, operators), so that equal keys mean equal work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.db.report.findings import Finding
from tonnage.units import KIB, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: An unused index below this costs nothing that anyone notices, and may be of a new table.
SMALL_BYTES: Final = 64 * KIB
#: Readings of a table from which on an index that took no part in them is not needed for them.
MANY_READS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index as the catalogue has it.

    Attributes:
        table: the table, quoted where it must be.
        name: its own name, quoted where it must be.
        keys: what it is sorted by, each with its order and collation.
        columns: the columns of the keys, as far as they are columns; quoted.
        extra: what else makes it different: method, condition, options, columns included.
        is_plain: whether it is a B-tree of all rows, so that a longer one can do its work.
        finds_equal: whether it finds all rows that have given values in its first columns.
        is_unique: whether it keeps rows from being equal.
        is_needed: whether a constraint or replication stands on it, so that it cannot go.
        is_valid: whether it is used at all.
        size_bytes: how large it is; None: not known.
        scans: how often it was used; None: not known.
        table_reads: how often its table was read in any way meanwhile; None: not known.
    """

    table: str
    name: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    extra: str = ""
    is_plain: bool = True
    finds_equal: bool = True
    is_unique: bool = False
    is_needed: bool = False
    is_valid: bool = True
    size_bytes: int | None = None
    scans: int | None = None
    table_reads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key.

    Attributes:
        table: the table that refers to another; quoted.
        columns: those that do; quoted.
        refers_to: the other table; quoted.
        table_bytes: how large the table is that would be read; None: not known.
        is_partitioned: whether the table is in parts, for which an index is made otherwise.
    """

    table: str
    columns: tuple[str, ...]
    refers_to: str
    table_bytes: int | None = None
    is_partitioned: bool = False


def superfluous(indexes: Sequence[Index], drop: Callable[[Index], str]) -> Iterator[Finding]:
    """Yield those of *indexes* whose work another one does: the same, or one that begins alike."""
    by_table: dict[str, list[Index]] = {}
    for index in indexes:
        if index.is_valid:
            by_table.setdefault(index.table, []).append(index)
    for group in by_table.values():
        for index in group:
            other = _stand_in(index, group)
            if other is not None:
                is_same = (other.keys, other.extra) == (index.keys, index.extra)
                how = "the same as" if is_same else "the beginning of"
                told = f"on {index.table} ({', '.join(index.keys)}): {how} {other.name}"
                yield Finding(index.name, told, drop(index), index.size_bytes)


def _stand_in(index: Index, group: Sequence[Index]) -> Index | None:
    """Return the one of *group* that makes *index* superfluous; None: it is needed."""
    if index.is_needed:
        return None
    for other in group:
        if other is index:
            continue
        if other.keys == index.keys and other.extra == index.extra:
            # Of two that are the same one stays: the needed one, the unique one, the first by name.
            if _rank(other) > _rank(index) and other.is_unique >= index.is_unique:
                return other
        elif (
            index.is_plain
            and other.is_plain
            and not index.is_unique
            and not index.extra
            and other.keys[: len(index.keys)] == index.keys
        ):
            return other
    return None


def _rank(index: Index) -> tuple[bool, bool, list[int]]:
    # The first name ranks highest.
    return index.is_needed, index.is_unique, [-ord(char) for char in index.name] + [1]


def unused(
    indexes: Iterable[Index], keys: Sequence[ForeignKey], drop: Callable[[Index], str]
) -> Iterator[Finding]:
    """Yield those of *indexes* that were never read, are no constraint's, and have a size to them.

    Two kinds come without a statement: one that serves a foreign key is missed when rows are
    deleted, and one whose table was hardly read may be new.
    """
    for index in indexes:
        if index.scans != 0 or index.is_unique or index.is_needed or not index.is_valid:
            continue
        if (index.size_bytes or 0) < SMALL_BYTES:
            continue
        served = next((key for key in keys if _serves(index, key)), None)
        told = f"on {index.table} ({', '.join(index.keys)}): never read"
        if served is not None:
            told += f"; keep it if rows of {served.refers_to} are ever deleted"
        is_early = index.table_reads is not None and index.table_reads < MANY_READS
        if is_early:
            told += f"; its table only {counted(index.table_reads or 0, 'time')}: wait"
        statement = None if served is not None or is_early else drop(index)
        yield Finding(index.name, told, statement, index.size_bytes)


def without_index(
    keys: Iterable[ForeignKey],
    indexes: Iterable[Index],
    create: Callable[[ForeignKey], str],
) -> Iterator[Finding]:
    """Yield those of *keys* whose columns no index begins with."""
    by_table: dict[str, list[Index]] = {}
    for index in indexes:
        by_table.setdefault(index.table, []).append(index)
    for key in keys:
        if not any(_serves(index, key) for index in by_table.get(key.table, ())):
            told = f"refers to {key.refers_to}: each delete there reads all of {key.table}"
            what = f"{key.table} ({', '.join(key.columns)})"
            yield Finding(what, told, create(key), key.table_bytes)


def _serves(index: Index, key: ForeignKey) -> bool:
    """Return whether *index* finds the rows that refer to one: its first columns are the key's."""
    first = index.columns[: len(key.columns)]
    finds = index.finds_equal and index.is_valid and index.table == key.table
    return finds and sorted(first) == sorted(key.columns)
