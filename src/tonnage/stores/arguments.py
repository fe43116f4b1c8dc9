"""What callers of a cache give, checked: names, tags, sizes, and functions whose results are kept.

    tags_of("event:7")               # ("event:7",)
    keys_of(load_event)              # makes the key of a call

Everything is refused with a ConfigError that says what is wrong. Decides only, and keeps nothing.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable


def checked_name(name: object) -> str:
    """Return *name* as what a cache is called.

    Raises:
        ConfigError: it is no text, or empty.
    """
    if not isinstance(name, str) or not name:
        raise ConfigError(f"a cache is called by a text, such as 'events', and not {name!r}")
    return name


def tags_of(tags: Iterable[str] | str | None) -> tuple[str, ...]:
    """Return *tags* as they are kept; one text is one tag.

    Raises:
        ConfigError: one of them is no text.
    """
    if not tags:
        return ()
    found = (tags,) if isinstance(tags, str) else tuple(tags)
    for each in found:
        if not isinstance(each, str):
            raise ConfigError(f"a tag is a text, such as 'event:7', and not {each!r}")
    return found


def checked_size(size_bytes: object) -> int:
    """Return *size_bytes* as what an entry takes.

    Raises:
        ConfigError: it is no whole number from 0 on.
    """
    if not isinstance(size_bytes, int) or size_bytes < 0:
        raise ConfigError(f"size_bytes is a whole number from 0 on, and not {size_bytes!r}")
    return size_bytes


def is_async(function: object) -> bool:
    """Whether what *function* returns has to be awaited.

    Raises:
        ConfigError: it cannot be called, or makes its values one after the other.
    """
    # Only here: it is large, and few caches are asked through functions.
    import inspect

    if not callable(function):
        raise ConfigError(f"cached takes a function, and not {function!r}")
    # What is called: of an object, its method.
    asked = (function, type(function).__call__)
    if any(inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each) for each in asked):
        raise ConfigError(
            f"{function!r} makes its values one after the other, and whoever came second would"
            " find none left: have it return a list"
        )
    return any(map(inspect.iscoroutinefunction, asked))


def is_known_by_name(function: object) -> bool:
    """Whether the name of *function* is that of no other, and the same in every process."""
    name = getattr(function, "__qualname__", "<lambda>")
    # A method that is bound to an object has the name of all that are bound to others.
    whose = getattr(function, "__self__", None)
    return "<" not in name and isinstance(whose, ModuleType | None)


def keys_of(function: Any) -> Callable[..., Hashable]:
    """Return what makes a key of the arguments of *function*, and of which function it is.

    Where its name does not say that, as for lambdas, functions within functions, methods of one
    object and ``functools.partial``, the key is of this object, and means nothing elsewhere.
    """
    if is_known_by_name(function):
        return partial(_key_of, f"{function.__module__}.{function.__qualname__}")
    return partial(_key_of, _Function(function))


class _Function:
    """A function as part of a key, where its name would not tell it from others."""

    __slots__ = ("_known_as",)

    def __init__(self, function: object) -> None:
        self._known_as = getattr(function, "__qualname__", type(function).__qualname__)

    def __repr__(self) -> str:
        return f"<{self._known_as}>"


def _key_of(whose: Hashable, *given: Any, **named: Any) -> Hashable:
    return (whose, given, tuple(sorted(named.items()))) if named else (whose, given)
