"""What settings ask of the plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from tonnage.budget.wishes import wishes_from
from tonnage.config import load_settings
from tonnage.settings import Settings
from tonnage.units import MIB


def settings_for(
    directory: Path, environ: dict[str, str] | None = None, **flags: object
) -> Settings:
    """Settings as the command line makes them, with *directory* as the current one."""
    return load_settings(flags, environ or {}, directory)


def test_marks_become_bytes_of_the_limit(tmp_path: Path) -> None:
    """A percentage is taken of the limit found, a size is taken as it is."""
    share = settings_for(tmp_path, exhausted_at="95%")
    size = settings_for(tmp_path, exhausted_at="450M", free_floor="20M")

    assert wishes_from(share, 1000 * MIB).exhausted_bytes == 950 * MIB
    assert wishes_from(size, 1000 * MIB).exhausted_bytes == 450 * MIB
    assert wishes_from(size, 1000 * MIB).free_floor_bytes == 20 * MIB


@pytest.mark.parametrize(
    ("environ", "flags", "strict", "source"),
    [
        ({}, {"workers": "3"}, True, "--workers"),
        ({"WEB_CONCURRENCY": "3"}, {}, False, "WEB_CONCURRENCY"),
        ({"TONNAGE_WORKERS": "3"}, {}, True, "TONNAGE_WORKERS"),
        ({"WEB_CONCURRENCY": "8"}, {"workers": "3"}, True, "--workers"),
    ],
)
def test_only_the_platforms_number_of_workers_is_lenient(
    tmp_path: Path, environ: dict[str, str], flags: dict[str, object], strict: bool, source: str
) -> None:
    """What a person wrote for Tonnage is meant; what a platform guessed is a hint."""
    wishes = wishes_from(settings_for(tmp_path, environ, **flags), 512 * MIB)

    assert (wishes.workers, wishes.workers_strict, wishes.workers_source) == (3, strict, source)
