from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tonnage.units import KIB
from tonnage.web.path.uploads.errors import UploadDiskError
from tonnage.web.path.uploads.files import UploadedFile
from tonnage.web.path.uploads.limits import flush_bytes
from tonnage.web.path.uploads.moving import give_name
from tonnage.web.path.uploads.spoolfile import SpoolFile, disk_error


def test_it_has_no_name(tmp_path: Path) -> None:
    """What is being received cannot be left behind, since no directory knows it."""
    file = SpoolFile(tmp_path, flush_bytes=KIB)
    file.write(memoryview(b"abc" * 1000))
    assert list(tmp_path.iterdir()) == []
    assert file.path.read_bytes() == b"abc" * 1000
    file.close()
    file.close()
    assert not file.is_open


def test_an_unlinked_file_is_copied_when_it_is_named(tmp_path: Path) -> None:
    """Where a file system has no nameless files, one that was unlinked is copied instead."""
    fd = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"content")
    os.unlink(tmp_path / "x")
    path = give_name(fd, tmp_path, "y", mode=0o640, overwrite=False, vary=False)
    os.close(fd)
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    """A disk that cannot be written is an answer, not a crash."""
    with pytest.raises(UploadDiskError) as caught:
        SpoolFile(tmp_path / "gone", flush_bytes=KIB)
    assert caught.value.problem.status == 507


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    """Nor one that has become a file: the client is told, and nothing is made elsewhere."""
    (tmp_path / "file").touch()
    with pytest.raises(UploadDiskError) as caught:
        SpoolFile(tmp_path / "file", flush_bytes=KIB)
    assert caught.value.problem.status == 507
    assert isinstance(caught.value.__cause__, NotADirectoryError)


def test_a_full_disk_says_so() -> None:
    """The client learns that there is no room."""
    assert "no room left" in str(disk_error(OSError(errno.ENOSPC, "")))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_writing_to_a_full_disk(tmp_path: Path) -> None:
    """A write that finds no room is refused as such."""
    file = SpoolFile(tmp_path, flush_bytes=KIB)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, file.fileno())
    os.close(full)
    with pytest.raises(UploadDiskError, match="no room left"):
        file.write(memoryview(b"a"))
    file.close()


def test_many_uploads_share_what_waits_for_the_disk() -> None:
    """The more are received at once, the earlier each is written out."""
    assert flush_bytes(1) == 4 * 1024 * KIB
    assert flush_bytes(4) == 1024 * KIB
    assert flush_bytes(1000) == 256 * KIB


def test_a_moved_file_is_told_by_its_folder(tmp_path: Path) -> None:
    """A folder that is not there is the program's mistake, told as the system tells it."""
    spool = SpoolFile(tmp_path, flush_bytes=KIB)
    file = UploadedFile(
        spool, field="a", name="a", type="text/plain", declared_name="a", declared_type=None
    )
    with pytest.raises(FileNotFoundError):
        file.move_to(tmp_path / "gone")
    file.close()
    file.close()


def test_a_name_that_the_disk_does_not_take_is_told(tmp_path: Path) -> None:
    """As the system tells it; what was received is not copied for nothing, and can be named yet."""
    spool = SpoolFile(tmp_path, flush_bytes=KIB)
    spool.write(memoryview(b"content"))
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        give_name(spool.fileno(), tmp_path, "a" * 300, mode=0o644, overwrite=False, vary=True)
    path = give_name(spool.fileno(), tmp_path, "a", mode=0o644, overwrite=False, vary=True)
    spool.close()
    assert list(tmp_path.iterdir()) == [path]
