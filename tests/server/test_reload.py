"""Noticing changed sources, without waiting for a clock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tonnage.server.reload import SourceWatch


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small source tree."""
    (tmp_path / "package").mkdir()
    (tmp_path / "app.py").write_text("a = 1")
    (tmp_path / "package" / "part.py").write_text("b = 1")
    return tmp_path


def touch(path: Path) -> None:
    """Give *path* another modification time, as an editor does."""
    time = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(time, time))


def test_nothing_changed(project: Path) -> None:
    """Looking twice tells of nothing."""
    assert SourceWatch(project).changed() is None


def test_a_change_is_told_once(project: Path) -> None:
    """By the file's name, and not again."""
    watch = SourceWatch(project)

    touch(project / "package" / "part.py")

    assert watch.changed() == str(project / "package" / "part.py")
    assert watch.changed() is None


@pytest.mark.parametrize("act", [lambda path: path.unlink(), lambda path: path.rename("new.py")])
def test_a_file_that_goes_is_a_change(project: Path, monkeypatch: pytest.MonkeyPatch, act) -> None:  # type: ignore[no-untyped-def]
    """Removed or renamed."""
    monkeypatch.chdir(project)
    watch = SourceWatch(project)

    act(project / "app.py")

    assert watch.changed() is not None


@pytest.mark.parametrize("name", ["__pycache__/x.py", ".venv/x.py", "node_modules/x.py", "x.txt"])
def test_what_is_no_source_does_not_count(project: Path, name: str) -> None:
    """Caches, environments and other files."""
    watch = SourceWatch(project)

    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("")

    assert watch.changed() is None


def test_a_file_that_cannot_be_looked_at_is_left_out(tmp_path: Path) -> None:
    """Such as a link that leads to itself."""
    (tmp_path / "round.py").symlink_to("round.py")
    watch = SourceWatch(tmp_path)

    (tmp_path / "main.py").touch()

    assert watch.changed() == str(tmp_path / "main.py")
