"""What records take in memory, fast enough to be asked for each that is added.

    scales = Scales()
    scales.weigh(records)        # bytes, all together

Each kind of record has a scale. What differs from record to record is looked at in every one:
strings as they are, whatever holds others by :func:`~tonnage.stores.sizes.size_bytes`. What hardly
differs (the record itself, its field names, its numbers, dates and the like) is learned from one
record of :data:`SAMPLE_EVERY`, in proportion to the record's own table.

Error: flat records count with up to a tenth less and up to 40 % more than CPython asks the
allocator for, which rounds up. Costs about 0.4 µs for a flat record of five fields, and 5 µs more
for each small list or dict in it. Bounded: :data:`MOST_SCALES` kinds; others are learned each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import EnumMeta
from sys import getsizeof
from typing import Any, Final

from tonnage.stores.sizes import size_bytes
from tonnage.stores.writer.records import field_names, values_getter

#: Of so many records, one is looked at in full; of the first, more.
SAMPLE_EVERY: Final = 256
MOST_SCALES: Final = 256
#: One sample moves what was learned by such a part of the difference: an eighth, later on.
LEARNING: Final = 8

# Kinds of which all values take the same, or nearly so, with how many bytes. Those of other modules
# are known by their names, since importing them costs memory that most would pay in vain.
_fixed: dict[type, int] = {bool: 0, type(None): 0, int: 48, float: 32, complex: 48}
_FIXED_BY_NAME: Final = {
    "datetime.date": 48,
    "datetime.time": 64,
    "datetime.timedelta": 64,
    "datetime.datetime": 64,
    "uuid.UUID": 112,
    "decimal.Decimal": 112,
}
_MOST_FIXED: Final = 256


class Scales:
    """A scale for each kind of record."""

    def __init__(self) -> None:
        self._scales: dict[type, Scale] = {}
        #: By the kind of a record, what returns its bytes: :meth:`weigh_one` without a call.
        self.ready: dict[type, Callable[[Any], int]] = {}

    def weigh(self, records: Sequence[Any]) -> int:
        """Return what *records* take together, in bytes.

        Raises:
            TypeError: one is no kind of record.
        """
        kinds = set(map(type, records))
        if len(kinds) == 1:
            return self._scale(*kinds).weigh(records)
        return sum(self.weigh_one(record) for record in records)

    def weigh_one(self, record: Any) -> int:
        """Return what *record* takes, in bytes.

        Raises:
            TypeError: it is no kind of record.
        """
        return self._scale(record.__class__).weigh_one(record)

    def _scale(self, kind: type) -> Scale:
        scale = self._scales.get(kind)
        if scale is None:
            scale = Scale(kind)
            if len(self._scales) < MOST_SCALES:
                self._scales[kind] = scale
                self.ready[kind] = scale.weigh_one
        return scale


class Scale:
    """Weighs records of one kind."""

    __slots__ = (
        "_empty_bytes",
        "_names",
        "_own_bytes",
        "_sample_every",
        "_share",
        "_until_sample",
        "_values",
    )

    def __init__(self, kind: type) -> None:
        names = field_names(kind)
        self._values: Callable[[Any], Iterable[Any]] = (
            kind.values if names is None else values_getter(names)  # type: ignore[attr-defined]
        )
        self._empty_bytes = self._mapping_bytes if names is None else _object_bytes
        self._own_bytes: Callable[[Any], int] = kind.__sizeof__  # type: ignore[assignment]
        # The field names of the last sample.
        self._names: tuple[Any, ...] = ()
        # What a record takes without what differs, in 256ths of its own table.
        self._share = 0
        self._sample_every, self._until_sample = 1, 0

    def weigh(self, records: Sequence[Any]) -> int:
        """Return what *records* take together, in bytes."""
        own_bytes, values = self._own_bytes, self._values
        tables = varied = 0
        for record in records:
            tables += own_bytes(record)
            for value in values(record):
                kind = value.__class__
                if kind is str:
                    # As :func:`_rounded` has it, here for speed.
                    varied += (_string_bytes(value) + 23) & -16
                elif kind not in _fixed:
                    varied += _weigh_value(value)
        self._until_sample -= len(records)
        # Only now, when the kinds of its values are known.
        if self._until_sample < 0:
            self._learn(records[-1])
        return (tables * self._share >> 8) + varied

    def weigh_one(self, record: Any) -> int:
        """Return what *record* takes, in bytes: as :meth:`weigh`, here for speed."""
        varied = 0
        for value in self._values(record):
            kind = value.__class__
            if kind is str:
                varied += (_string_bytes(value) + 23) & -16
            elif kind not in _fixed:
                varied += _weigh_value(value)
        left = self._until_sample = self._until_sample - 1
        if left < 0:
            self._learn(record)
        return (self._own_bytes(record) * self._share >> 8) + varied

    def _learn(self, record: Any) -> None:
        self._sample_every = self._until_sample = min(2 * self._sample_every, SAMPLE_EVERY)
        same = self._empty_bytes(record)
        same += sum(_fixed.get(value.__class__, 0) for value in self._values(record))
        share = (same << 8) // max(1, self._own_bytes(record))
        # The first sample cannot tell whether names are shared, so the second counts alone.
        part = min(LEARNING, max(1, self._sample_every.bit_length() - 2))
        self._share += (share - self._share) // part

    def _mapping_bytes(self, record: Mapping[str, Any]) -> int:
        """Return what *record* takes without its values; with its names, unless all share them."""
        names, self._names = self._names, tuple(record)
        known = set(map(id, names))
        own = (name for name in self._names if id(name) not in known)
        return _rounded(getsizeof(record)) + sum(map(size_bytes, own))


def _object_bytes(record: Any) -> int:
    """Return what *record* takes without its values; the names are its class's."""
    table = getattr(record, "__dict__", None)
    return _rounded(getsizeof(record)) + (0 if table is None else _rounded(getsizeof(table)))


def _rounded(asked: int) -> int:
    """Return what an allocator takes for *asked* bytes: glibc's 8 more, and multiples of 16."""
    return (asked + 23) & -16


_string_bytes: Final = str.__sizeof__


def _weigh_value(value: Any) -> int:
    """Return what *value* takes, if it is of a kind of which that differs."""
    kind = value.__class__
    known = _FIXED_BY_NAME.get(f"{kind.__module__}.{kind.__name__}")
    if isinstance(kind, EnumMeta):
        known = 0  # its members are there anyway
    if known is None:
        return size_bytes(value)
    if len(_fixed) < _MOST_FIXED:
        _fixed[kind] = known
    return known
