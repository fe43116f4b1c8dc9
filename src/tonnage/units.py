"""Sizes, durations and switches as people write them, and back.

One MB is 2**20 bytes everywhere in this project: that is what kernels, Docker and hosting
platforms mean by "512 MB". ``MB``, ``MiB`` and ``M`` are therefore the same.

Text is accepted at the border only; inside, sizes are ``int`` bytes and times ``float`` seconds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tonnage.errors import ConfigError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

TRUE_WORDS = ("true", "yes", "on", "1")
FALSE_WORDS = ("false", "no", "off", "0")

_SIZE_UNITS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": 1024 * GIB}
# The shared page holds sizes in signed 64-bit words.
_LARGEST_BYTES = 2.0**63
_SHOWN_UNITS = ((GIB, "GB"), (MIB, "MB"), (KIB, "KB"))
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)

_TIME_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?\s*", re.IGNORECASE)


def parse_bytes(text: str | int) -> int:
    """Return the bytes that *text* means: ``512M``, ``1.5 GB``, ``640KiB``, ``4096``.

    Raises:
        ConfigError: if it is not a size of at least one byte and below 8 EB.
    """
    match = _SIZE.fullmatch(str(text))
    size = float(match[1]) * _SIZE_UNITS[match[2].lower()] if match else 0.0
    # There is no half of a byte: 1.5 was meant to have a unit.
    is_whole = bool(match and match[2]) or size.is_integer()
    if not (1.0 <= size < _LARGEST_BYTES and is_whole):
        raise ConfigError(f"{text!r} is not a size: write for example 512M, 1.5G or 640K")
    return int(size)


def parse_seconds(text: str | float) -> float:
    """Return the seconds that *text* means: ``30``, ``30s``, ``250ms``, ``2m``, ``1h``.

    Raises:
        ConfigError: if it is not a duration of zero or more.
    """
    seconds = -1.0
    if isinstance(text, int | float) and not isinstance(text, bool):
        seconds = float(text)
    elif match := _TIME.fullmatch(str(text)):
        seconds = float(match[1]) * _TIME_UNITS[(match[2] or "").lower()]
    if not 0.0 <= seconds < math.inf:
        raise ConfigError(f"{text!r} is not a duration: write for example 30s, 250ms or 2m")
    return seconds


def parse_switch(text: str | bool) -> bool:
    """Return what *text* means: ``true``, ``yes``, ``on`` and ``1``, or their opposites.

    Raises:
        ConfigError: if it is neither.
    """
    word = str(text).strip().lower()
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return word in TRUE_WORDS
    raise ConfigError(f"{text!r} is neither true nor false")


def format_bytes(count: float) -> str:
    """Return *count* bytes for a person: ``640 KB``, ``8.5 MB``, ``512 MB``, ``1.5 GB``."""
    sign = "-" if count < 0 else ""
    size = abs(count)
    if size < KIB:
        return f"{sign}{size:.0f} B"
    unit, name = next((unit, name) for unit, name in _SHOWN_UNITS if size >= unit)
    amount = size / unit
    exact = amount >= 100 or (amount >= 10 and unit < GIB) or amount == int(amount)
    return f"{sign}{amount:.0f} {name}" if exact else f"{sign}{amount:.1f} {name}"


def format_seconds(seconds: float) -> str:
    """Return *seconds* for a person: ``20 ms``, ``1.2 s``, ``45 s``, ``3 h 12 min``, ``2 days``."""
    if round(seconds * 1000) < 1000:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        parts = (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "")
        return " ".join(filter(None, parts))
    days = seconds / 86400
    shown = f"{days:.0f}" if days >= 10 else f"{days:.1f}".removesuffix(".0")
    return f"{shown} days"


def counted(count: int, what: str, several: str = "") -> str:
    """Return *count* with what is counted: ``1 time``, ``12,000 times``.

    Args:
        count: how many.
        what: the word for one.
        several: the word for several; empty: *what* with an "s".
    """
    return f"{count:,} {what if count == 1 else several or what + 's'}"


def in_mb(count: float) -> float:
    """Return *count* bytes in MB with one decimal, as the health endpoints show figures."""
    return round(count / MIB, 1)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A mark on the way to the limit: a share of it, or an absolute size. One of the two is set."""

    percent: float | None = None
    bytes: int | None = None

    def of(self, limit_bytes: int) -> int:
        """Return the mark in bytes for a limit of *limit_bytes*."""
        if self.bytes is not None:
            return self.bytes
        return int(limit_bytes * (self.percent or 0.0) / 100)

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.bytes is None else format_bytes(self.bytes)


def parse_threshold(text: str) -> Threshold:
    """Return the mark that *text* means: ``80%`` of the limit, or ``450M``.

    Raises:
        ConfigError: if it is neither a percentage between 0 and 100 nor a size.
    """
    stripped = text.strip()
    if stripped.replace(".", "", 1).isdigit():
        # 80 could be meant as a share or as bytes; as bytes, the server would always be exhausted.
        raise ConfigError(f"{text!r} has no unit: write {stripped}% or {stripped}M")
    if not stripped.endswith("%"):
        return Threshold(bytes=parse_bytes(stripped))
    try:
        percent = float(stripped[:-1])
    except ValueError:
        percent = -1.0
    if not 0 < percent <= 100:
        raise ConfigError(f"{text!r} is not a share of the limit: write for example 80% or 450M")
    return Threshold(percent=percent)
