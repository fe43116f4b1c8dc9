"""What a record may be, and how it becomes a mapping.

A dict or any other mapping, a dataclass, a ``msgspec.Struct``, a pydantic model, a named tuple.
None of their libraries is imported: each is known by what it has.

Promises: mappings are handed on as they are, never copied. Others become dicts when they are
flushed, not when they are added: until then who has added one must not change it. What they hold of
their own kinds becomes dicts and lists too. The table of kinds is bounded (:data:`MOST_KINDS`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

#: Kinds of records that are remembered, with how to read them.
MOST_KINDS: Final = 256

_PLAIN: Final = frozenset((str, int, float, bool, bytes, type(None)))
_WHAT: Final = "a mapping, a dataclass, a msgspec.Struct, a pydantic model or a named tuple"


def field_names(kind: type) -> tuple[str, ...] | None:
    """Return the names of the fields of *kind*; None: it is a mapping, and each has its own.

    Raises:
        TypeError: it is no kind of record.
    """
    if issubclass(kind, Mapping):
        return None
    for attribute in (
        "__struct_fields__",
        "model_fields",
        "__pydantic_fields__",
        "__dataclass_fields__",
        "_fields",
    ):
        found = getattr(kind, attribute, None)
        if isinstance(found, (Mapping, tuple)):
            return tuple(found)
    raise TypeError(f"a record is {_WHAT}, not {kind.__name__}")


def values_getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads the values of the fields *names*, in that order."""
    if not names:
        return lambda record: ()
    if len(names) == 1:
        (name,) = names
        return lambda record: (getattr(record, name),)
    getter: Callable[[Any], tuple[Any, ...]] = attrgetter(*names)
    return getter


def to_mappings(records: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Return *records* as mappings; those that are mappings already are the same objects."""
    return [each if each.__class__ is dict else to_mapping(each) for each in records]


def to_mapping(record: Any) -> Mapping[str, Any]:
    """Return *record* as a mapping.

    Raises:
        TypeError: it is no kind of record.
    """
    kind = type(record)
    reader = _readers.get(kind)
    if reader is None:
        reader = _reader(kind)
        if len(_readers) < MOST_KINDS:
            _readers[kind] = reader
    return reader(record)


_readers: dict[type, Callable[[Any], Mapping[str, Any]]] = {}


def _reader(kind: type) -> Callable[[Any], Mapping[str, Any]]:
    names = field_names(kind)
    if names is None:
        return lambda record: record
    if hasattr(kind, "model_dump"):
        # It knows what its fields are called outside, and what it leaves out.
        return lambda record: record.model_dump()
    values = values_getter(names)

    def read(record: Any) -> Mapping[str, Any]:
        return {
            name: value if value.__class__ in _PLAIN else _plain(value)
            for name, value in zip(names, values(record), strict=True)
        }

    return read


def _plain(value: Any) -> Any:
    """Return *value* with what it holds of records made dicts; anything else as it is."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and not hasattr(value, "_fields"):
        return [_plain(each) for each in value]
    if value.__class__ in _PLAIN or isinstance(value, type):
        return value
    try:
        return to_mapping(value)
    except TypeError:
        return value
