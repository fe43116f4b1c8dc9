"""The tutorial, followed to the letter: its commands, in a real limit of 512 MB."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.support.cgroup import need_cgroup
from tests.support.reader import follow_tutorial, unlike
from tests.support.server import clean_environment


@pytest.mark.real
def test_what_the_tutorial_says_is_so(tmp_path: Path) -> None:
    """Each command works, prints what is shown, and the kernel kills nothing meanwhile."""
    pytest.importorskip("fastapi")
    need_cgroup()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "tonnage").write_text(f'#!/bin/sh\nexec {sys.executable} -m tonnage "$@"\n')
    (programs / "tonnage").chmod(0o755)
    follow_tutorial(tmp_path / "shop", programs, clean_environment(), sys.executable)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("OK for 12 s", "CRITICAL now"),
        ('{"bytes": 1}', '{"error": "no"}'),
        ('{"bytes": 1}', "nothing"),
    ],
)
def test_what_is_not_so_would_be_found(shown: str, printed: str) -> None:
    """Other words, other names, no answer."""
    assert unlike([shown], printed) == [shown]
    assert unlike([shown], f"{printed}\n{shown}") == []
