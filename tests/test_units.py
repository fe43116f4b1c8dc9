"""Sizes and durations, as people write them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from tonnage.errors import ConfigError
from tonnage.units import (
    GIB,
    KIB,
    MIB,
    counted,
    format_bytes,
    format_seconds,
    in_mb,
    parse_bytes,
    parse_seconds,
    parse_switch,
    parse_threshold,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 * MIB),
        ("512MB", 512 * MIB),
        ("512MiB", 512 * MIB),
        ("512 mb", 512 * MIB),
        (" 1.5G ", 1536 * MIB),
        ("640k", 640 * KIB),
        ("2T", 2048 * GIB),
        ("4096", 4096),
        ("4096B", 4096),
        (4096, 4096),
        ("0.5k", 512),
    ],
)
def test_a_size_is_read(text: str | int, size: int) -> None:
    """One MB is 2**20 bytes, however it is spelled."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "big",
        "-5M",
        "0",
        "0.4",
        "1.5",
        "2.5B",
        1.5,
        "5X",
        "5 MBit",
        "1e9",
        "1,5G",
        0,
        -1,
        "9" * 400,
        "9e99T",
    ],
)
def test_what_is_no_size_is_refused(text: Any) -> None:
    """With the value, and an example."""
    with pytest.raises(ConfigError, match=r"is not a size: write for example 512M"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("30s", 30.0),
        ("250ms", 0.25),
        ("2m", 120.0),
        ("2 min", 120.0),
        ("1.5h", 5400.0),
        ("1d", 86400.0),
        (10, 10.0),
        (0.5, 0.5),
        (2e-05, 2e-05),
        ("0", 0.0),
    ],
)
def test_a_duration_is_read(text: str | float, seconds: float) -> None:
    """Without a unit it is seconds."""
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-1", -1.0, "5 years", "1:30", math.nan, math.inf, True, timedelta(seconds=1)],
)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    """With the value, and an example."""
    with pytest.raises(ConfigError, match=r"is not a duration: write for example 30s"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1 KB"),
        (640 * KIB, "640 KB"),
        (1.5 * KIB, "1.5 KB"),
        (8 * MIB, "8 MB"),
        (8.5 * MIB, "8.5 MB"),
        (51.4 * MIB, "51 MB"),
        (512 * MIB, "512 MB"),
        (1536 * MIB, "1.5 GB"),
        (24 * GIB, "24 GB"),
        (24.3 * GIB, "24.3 GB"),
        (124.3 * GIB, "124 GB"),
        (-3 * MIB, "-3 MB"),
    ],
)
def test_a_size_is_shown(count: float, text: str) -> None:
    """With as many digits as a person wants."""
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.0204, "20 ms"), (0.9996, "1.0 s"), (1.24, "1.2 s"), (9.97, "10 s"), (119.7, "2 min")),
        *((45.0, "45 s"), (1500.0, "25 min"), (3590.0, "1 h"), (11_520.0, "3 h 12 min")),
        *((86_400.0, "24 h"), (302_400.0, "3.5 days"), (863_000.0, "10 days"), (1e8, "1157 days")),
    ],
)
def test_a_duration_is_shown(seconds: float, text: str) -> None:
    """Two figures at most."""
    assert format_seconds(seconds) == text


def test_figures_for_health_are_in_mb() -> None:
    """With one decimal."""
    assert in_mb(1.25 * GIB) == 1280.0
    assert in_mb(MIB / 3) == 0.3


@pytest.mark.parametrize(
    ("text", "of_512_mb", "shown"),
    [
        ("80%", int(409.6 * MIB), "80%"),
        (" 97.5 % ", int(499.2 * MIB), "97.5%"),
        ("100%", 512 * MIB, "100%"),
        ("450M", 450 * MIB, "450 MB"),
    ],
)
def test_a_threshold_is_a_share_or_a_size(text: str, of_512_mb: int, shown: str) -> None:
    """A mark on the way to the limit."""
    threshold = parse_threshold(text)

    assert threshold.of(512 * MIB) == of_512_mb
    assert str(threshold) == shown


@pytest.mark.parametrize("text", ["0%", "101%", "-5%", "%", "much%", "nan%", "inf%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    """With the value, and an example."""
    with pytest.raises(ConfigError, match=r"is not a share of the limit: write for example 80%"):
        parse_threshold(text)


def test_what_is_neither_share_nor_size_is_refused() -> None:
    """As a size, which it would be without the sign."""
    with pytest.raises(ConfigError, match="is not a size"):
        parse_threshold("much")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        *(("true", True), (" Yes ", True), ("ON", True), ("1", True), (True, True)),
        *(("false", False), ("no", False), ("off", False), ("0", False), (False, False)),
    ],
)
def test_a_switch_is_read(text: str | bool, meaning: bool) -> None:
    """In words that people use."""
    assert parse_switch(text) is meaning


@pytest.mark.parametrize("text", ["", "perhaps", "2", "truely"])
def test_what_is_no_switch_is_refused(text: str) -> None:
    """Rather than taken for false."""
    with pytest.raises(ConfigError, match="neither true nor false"):
        parse_switch(text)


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 processes"), (1, "1 process"), (2, "2 processes"), (12_000, "12,000 processes")],
)
def test_what_is_counted_has_its_plural(count: int, told: str) -> None:
    """By an "s", unless it is an odd one."""
    assert counted(count, "process", "processes") == told
    assert counted(count, "row") == told.replace("processes", "rows").replace("process", "row")


@pytest.mark.parametrize("text", ["80", "80.5", " 450 "])
def test_a_mark_without_a_unit_is_refused(text: str) -> None:
    """It could be a share or bytes; both are said."""
    with pytest.raises(ConfigError, match=rf"write {text.strip()}% or {text.strip()}M"):
        parse_threshold(text)
