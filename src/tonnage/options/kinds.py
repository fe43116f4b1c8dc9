"""Kinds of values: how text becomes each of them, and what a user is told to write instead.

Covers single values. What makes no sense together is for :mod:`tonnage.config`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tonnage.errors import ConfigError
from tonnage.units import (
    format_bytes,
    parse_bytes,
    parse_seconds,
    parse_switch,
    parse_threshold,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: how it is called in help, how text becomes it, and what to write.

    ``parse`` gets text from flags and variables, or a TOML value, and raises `ConfigError` or
    ValueError for nonsense; what the user then reads is made of ``expected``, and of what was
    raised where that ``explains`` more.
    """

    metavar: str
    parse: Callable[[str], object]
    expected: str
    explains: bool = False


def whole(least: int, most: int | None = None, metavar: str = "N") -> Kind:
    """A whole number from *least* to *most*."""

    def parse(text: str) -> int:
        number = int(text)
        if number < least or (most is not None and number > most):
            raise ConfigError(f"{number} is out of range")
        return number

    expected = f"from {least} to {most}" if most is not None else f"of {least} or more"
    return Kind(metavar, parse, f"a whole number {expected}")


def choice(*words: str, **also: str) -> Kind:
    """One of *words*, in any case; *also* maps further spellings to one of them."""

    def parse(text: str) -> str:
        word = also.get(text.strip().lower(), text.strip().lower())
        if word not in words:
            raise ConfigError(f"{text!r} is none of the choices")
        return word

    return Kind("{" + ",".join(words) + "}", parse, " or ".join((", ".join(words[:-1]), words[-1])))


def size(least_bytes: int, example: str) -> Kind:
    """A size of at least *least_bytes*."""

    def parse(text: str) -> int:
        size_bytes = parse_bytes(text)
        if size_bytes < least_bytes:
            raise ConfigError(f"{text!r} is too small")
        return size_bytes

    least = format_bytes(least_bytes)
    return Kind("SIZE", parse, f"a size of at least {least} such as {example}")


def _duration(least_seconds: float) -> Kind:
    def parse(text: str) -> float:
        seconds = parse_seconds(text)
        if seconds < least_seconds:
            raise ConfigError(f"{text!r} is too short")
        return seconds

    least = f" of at least {least_seconds:g}s" if least_seconds else ""
    return Kind("TIME", parse, f"a duration{least} such as 30s, 250ms or 2m")


def _interval_or_off(text: str) -> float:
    seconds = parse_seconds(text)
    if 0 < seconds < 1:
        raise ConfigError(f"{text!r} is too short")
    return seconds


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word for word in (part.strip() for part in text.split(",")) if word)
    if not words:
        raise ConfigError("it is empty")
    return words


def _rates(text: str) -> str:
    from tonnage.rates.limits import parse_limits  # Only here: few have any.

    parse_limits(text)
    return text


def _routes(text: str) -> dict[str, dict[str, str]]:
    """Return by route what differs there: one a line, or with semicolons between them."""
    found: dict[str, dict[str, str]] = {}
    for line in filter(None, (part.strip() for part in re.split(r"[\n;]", text))):
        match = _ROUTE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{line!r} is not a route with limits")
        limits = (limit.partition("=") for limit in _BETWEEN_LIMITS.split(match["limits"]))
        route = found.setdefault(match["route"], {})
        route.update((name.strip(), value.strip()) for name, _, value in limits)
    if not found:
        raise ConfigError("it is empty")
    return found


# A route may have a colon of its own, and so may a limit; rates have commas between them.
_ROUTE = re.compile(r"(?P<route>.+?)\s*:\s*(?P<limits>[\w-]+\s*=.*)")
_BETWEEN_LIMITS = re.compile(r",\s*(?=[\w-]+\s*=)")


def _url_path(text: str) -> str:
    if not text.startswith("/") or text.strip() != text or "?" in text:
        raise ConfigError(f"{text!r} is not a path")
    return text


def _url_path_or_off(text: str) -> str:
    """Return the path without a slash at its end; empty: off."""
    if text.strip().lower() in ("", "off", "none", "false"):
        return ""
    # It becomes part of headers.
    if not _PLAIN_PATH.fullmatch(text.strip()):
        raise ConfigError(f"{text!r} is not a path")
    return text.strip().rstrip("/")


_PLAIN_PATH = re.compile(r"/[\w.~-][\w.~/-]*", re.ASCII)


def _text(text: str) -> str:
    if not text.strip():
        raise ConfigError("it is empty")
    return text


SWITCH = Kind("", parse_switch, "true or false")
TEXT = Kind("TEXT", _text, "some text")
TARGET = Kind("TARGET", _text, "MODULE:ATTR, for example main:app")
FUNCTION = Kind("MODULE:ATTR", _text, "MODULE:ATTR of a function")
URL_PATH = Kind("PATH", _url_path, "a path such as /health")
URL_PATH_OR_OFF = Kind("PATH", _url_path_or_off, "a path such as /status, or off")
WORDS = Kind("A,B", _words, "words with commas between them")
RATES = Kind(
    "RATE", _rates, "a rate such as 100/15m, or several with commas between them", explains=True
)
ROUTES = Kind(
    "'ROUTE: LIMIT=VALUE'",
    _routes,
    "for example 'POST /photos: max_upload=5M, timeout=none'",
    explains=True,
)
FILE = Kind("FILE", lambda text: Path(_text(text)), "the path of a file")
DIRECTORY = Kind("DIR", lambda text: Path(_text(text)), "the path of a directory")
SIZE = Kind("SIZE", parse_bytes, "a size such as 512M or 1.5G")
MARK = Kind("MARK", parse_threshold, "a share of the limit such as 80%, or a size such as 450M")
PORT = whole(0, 65535, "PORT")
DURATION = _duration(0)
# A deadline or an interval of nothing would mean "at once, always": that is never meant.
POSITIVE_DURATION = _duration(0.1)
# What is done to every worker again and again would leave it no time to serve.
INTERVAL_OR_OFF = Kind(
    "TIME", _interval_or_off, "a duration of at least 1s such as 30s or 2m, or 0 for off"
)
