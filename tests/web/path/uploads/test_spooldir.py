from __future__ import annotations

from pathlib import Path

import pytest

from tonnage.errors import ConfigError
from tonnage.web.path.uploads.spooldir import find_directory


def mounts(tmp_path: Path, *lines: tuple[str, str]) -> Path:
    """Return a list of mounts: points and file systems."""
    file = tmp_path / "mountinfo"
    file.write_text(
        "".join(
            f"{number} 1 8:1 / {point} rw,relatime shared:1 - {kind} source rw\n"
            for number, (point, kind) in enumerate(lines)
        )
    )
    return file


def test_memory_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Uploads in a tmpfs would be memory, so the program says so at its start."""
    table = mounts(tmp_path, ("/", "tmpfs"))
    with pytest.raises(ConfigError, match=r"in memory: .* is a tmpfs; name a directory on a disk"):
        find_directory(tmp_path, mountinfo=table)
    with pytest.raises(ConfigError, match="in_memory=True"):
        find_directory(None, mountinfo=table, defaults=[str(tmp_path)])


def test_memory_is_taken_if_it_is_meant(tmp_path: Path) -> None:
    """Who insists gets it."""
    table = mounts(tmp_path, ("/", "tmpfs"))
    assert find_directory(tmp_path, mountinfo=table, in_memory=True) == tmp_path
    defaults = [str(tmp_path)]
    assert find_directory(None, mountinfo=table, in_memory=True, defaults=defaults) == tmp_path


def test_the_first_default_on_a_disk_is_taken(tmp_path: Path) -> None:
    """Where /tmp is memory and /var/tmp is not, the latter is used."""
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    table = mounts(tmp_path, ("/", "ext4"), (str(memory), "tmpfs"))
    defaults = [str(tmp_path / "gone"), str(memory), str(disk)]
    assert find_directory(None, mountinfo=table, defaults=defaults) == disk


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong directory is told with its name."""
    with pytest.raises(ConfigError, match="gone: there is no such directory"):
        find_directory(tmp_path / "gone")


def test_without_proc_everything_passes(tmp_path: Path) -> None:
    """Where the mounts cannot be read, nothing is known."""
    assert find_directory(tmp_path, mountinfo=tmp_path / "none") == tmp_path


def test_no_default_that_can_be_written_is_told(tmp_path: Path) -> None:
    """Not as if it were memory: the advice is the same, but what is wrong is another thing."""
    gone = [str(tmp_path / "gone"), str(tmp_path / "too")]
    with pytest.raises(ConfigError, match=r"gone and .*too cannot be written; name a directory"):
        find_directory(None, defaults=gone)
