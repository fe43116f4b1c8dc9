"""Whether what a user gave for an option makes sense, and what to write if it does not.

Covers what is checked alike for several options: lists of texts, names of headers and methods,
figures, functions. Does not cover how sizes and times are read (:mod:`tonnage.units`), nor what
only one part understands, such as origins. Imports nothing that costs, so that all options are
checked, also those of a part that is off.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Given = TypeVar("Given")
Value = TypeVar("Value")

# RFC 9110, 5.6.2: of what names of headers and methods consist.
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAME: Final = re.compile(_TOKEN)
_CONTENT_TYPE: Final = re.compile(f"{_TOKEN}/{_TOKEN}")


def texts(option: str, given: Collection[str] | None) -> tuple[str, ...]:
    """Return the texts of a list, without space around them; None is an empty list.

    Raises:
        ConfigError: it is one text, no list, or has something else in it.
    """
    if isinstance(given, str):
        raise ConfigError(f"{option}={given!r} is one text: write a list, as in [{given!r}]")
    try:
        several = tuple(given or ())
    except TypeError:
        raise ConfigError(f"{option}={given!r} is no list: write a list of texts") from None
    for each in several:
        if not isinstance(each, str):
            raise ConfigError(f"{option} has {each!r} in it: write a list of texts")
    return tuple(each.strip() for each in several)


def names(option: str, given: Collection[str] | None) -> tuple[str, ...]:
    """Return the names of headers or methods in a list.

    Raises:
        ConfigError: as :func:`texts`, or one of them could be no name.
    """
    return _all_fit(option, given, _NAME, "a name: write it without spaces, colons and quotes")


def content_types(option: str, given: Collection[str] | None) -> tuple[str, ...]:
    """Return the content types in a list.

    Raises:
        ConfigError: as :func:`texts`, or one of them is no content type.
    """
    return _all_fit(option, given, _CONTENT_TYPE, "a content type: write for example image/x-raw")


def whole(option: str, given: Any, least: int, most: int | None = None) -> int:
    """Return a whole number from *least* to *most*.

    Raises:
        ConfigError: it is something else.
    """
    # True is a number to Python only.
    if type(given) is int and given >= least and (most is None or given <= most):
        return given
    expected = f"of {least} or more" if most is None else f"from {least} to {most}"
    raise ConfigError(f"{option}={given!r} makes no sense: write a whole number {expected}")


def read(option: str, given: Given, parse: Callable[[Given], Value]) -> Value:
    """Return what *parse* makes of a size or time.

    Raises:
        ConfigError: it is none; the message names the option.
    """
    try:
        return parse(given)
    except ConfigError as error:
        raise ConfigError(f"{option}={given!r} makes no sense: {error}") from error


def function(option: str, given: Any) -> None:
    """Check that *given* can be called, or is None.

    Raises:
        ConfigError: it cannot.
    """
    if given is not None and not callable(given):
        raise ConfigError(f"{option}={given!r} is no function: give one, not its name")


def _all_fit(
    option: str, given: Collection[str] | None, pattern: re.Pattern[str], what: str
) -> tuple[str, ...]:
    several = texts(option, given)
    for each in several:
        if not pattern.fullmatch(each):
            raise ConfigError(f"{option} has {each!r} in it, which is not {what}")
    return several
