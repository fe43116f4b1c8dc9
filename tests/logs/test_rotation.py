"""A log file by its size, from one process and from several."""

from __future__ import annotations

import resource
from functools import partial
from pathlib import Path

import pytest
from tests.support.forking import fork, status_of

from tonnage.logs.rotation import RotatedFile


def names(directory: Path) -> list[str]:
    """Return what is in *directory*."""
    return sorted(each.name for each in directory.iterdir())


def test_nothing_is_made_before_the_first_line(tmp_path: Path) -> None:
    """Setting a log up leaves no trace."""
    file = RotatedFile(tmp_path / "logs" / "app.log", file_bytes=100, files_kept=2)
    assert names(tmp_path) == []
    file.write(b"first\n")
    file.close()
    assert names(tmp_path / "logs") == ["app.log"]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (1, {"app.log": b"4" * 6}),
        (2, {"app.log": b"4" * 6, "app.log.1": b"2233"}),
        (3, {"app.log": b"4" * 6, "app.log.1": b"2233", "app.log.2": b"0011"}),
    ],
)
def test_so_many_files_are_kept(tmp_path: Path, kept: int, expected: dict[str, bytes]) -> None:
    """The newest ones; a piece that is too long is a file of its own."""
    file = RotatedFile(tmp_path / "app.log", file_bytes=4, files_kept=kept)
    for piece in (b"00", b"11", b"22", b"33", b"4" * 6):
        file.write(piece)
    file.close()
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == expected


def test_what_was_there_is_continued(tmp_path: Path) -> None:
    """A server that starts again goes on where the last one ended."""
    for piece in (b"one\n", b"two\n"):
        file = RotatedFile(tmp_path / "app.log", file_bytes=100, files_kept=2)
        file.write(piece)
        file.close()
    assert (tmp_path / "app.log").read_bytes() == b"one\ntwo\n"


def test_a_file_that_somebody_has_removed_is_made_anew(tmp_path: Path) -> None:
    """Lines go where people look for them."""
    file = RotatedFile(tmp_path / "app.log", file_bytes=100, files_kept=2)
    file.write(b"one\n")
    (tmp_path / "app.log").unlink()
    file.write(b"two\n")
    file.close()
    assert (tmp_path / "app.log").read_bytes() == b"two\n"


def test_of_a_line_that_the_disk_does_not_take_nothing_is_left(tmp_path: Path) -> None:
    """The next one would go on where that one broke off."""
    path = tmp_path / "app.log"

    def fill() -> None:
        file = RotatedFile(path, file_bytes=4096, files_kept=2)
        file.write(b"one\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        with pytest.raises(OSError, match="File too large"):
            file.write(b"x" * 200 + b"\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        file.write(b"three\n")

    assert status_of(fork(fill)) == 0
    assert path.read_bytes() == b"one\nthree\n"


def test_several_processes_lose_no_line(tmp_path: Path) -> None:
    """Each writes and rotates as it comes; every line is there once, and whole."""

    def write_all(who: int) -> None:
        file = RotatedFile(tmp_path / "app.log", file_bytes=2000, files_kept=1000)
        for number in range(200):
            file.write(f"{who} {number} {'x' * 40}\n".encode())

    children = [fork(partial(write_all, who)) for who in range(3)]
    assert [status_of(pid) for pid in children] == [0, 0, 0]

    files = [tmp_path / name for name in names(tmp_path)]
    assert len(files) > 10
    assert max(each.stat().st_size for each in files) <= 2000
    lines = [line.split() for each in files for line in each.read_text().splitlines()]
    assert {(who, number) for who, number, _ in lines} == {
        (str(who), str(number)) for who in range(3) for number in range(200)
    }
    assert len(lines) == 600
