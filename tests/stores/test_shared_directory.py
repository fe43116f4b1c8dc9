"""Where shared levels lie: each server here is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tonnage.errors import StoreError
from tonnage.host.filesystems import in_memory_as
from tonnage.stores.shared.directory import shared_directory

# Says where it is, and what it has found; keeps something; ends when told to.
PROGRAM = """
import logging, sys
logging.basicConfig(format="%(message)s")
from tonnage import Cache
cache = Cache("events", shared="1M", ttl=60)
found = cache.get("a")
cache.set("a", sys.argv[1])
near = cache._beyond.near
print(near._store.path.parent if near._store else None, found, flush=True)
sys.stdin.read()
"""


class Server:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        said = process.stdout.readline().rsplit(" ", 1)
        self.path, self.found = Path(said[0]), said[1].strip()


@contextmanager
def server(temporary: Path, named: Path | None = None, *, keep: str = "kept") -> Iterator[Server]:
    """Start a server, and stop it."""
    environ = {**os.environ, "TMPDIR": str(temporary), "TONNAGE_CACHE_DIR": str(named or "")}
    with (temporary / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, keep],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        yield Server(process)


def log_of(temporary: Path) -> str:
    """Return what servers have logged."""
    return (temporary / "log").read_text()


def test_each_server_has_a_directory_of_its_own(tmp_path: Path) -> None:
    """Open to nobody else, and gone when it ends."""
    with server(tmp_path) as one, server(tmp_path) as other:
        assert one.path != other.path
        assert (one.found, other.found) == ("None", "None")
        for each in (one, other):
            assert each.path.stat().st_mode & 0o777 == 0o700
            assert all(file.stat().st_mode & 0o077 == 0 for file in each.path.iterdir())
    assert not one.path.exists()
    assert not other.path.exists()
    assert log_of(tmp_path) == ""


def test_what_a_killed_server_has_left_behind_goes_with_the_next_one(tmp_path: Path) -> None:
    """And nobody else's goes."""
    with server(tmp_path) as living:
        with server(tmp_path) as killed:
            killed.process.kill()
        assert killed.path.exists()
        with server(tmp_path):
            assert not killed.path.exists()
            assert living.path.exists()


def test_a_directory_that_was_named_is_found_again(tmp_path: Path) -> None:
    """With what lies in it, also after the server was killed."""
    named = tmp_path / "caches" / "mine"
    with server(tmp_path, named, keep="first") as first:
        assert first.found == "None"
        first.process.kill()
    with server(tmp_path, named, keep="second") as second:
        assert (second.path, second.found) == (first.path, "first")
    with server(tmp_path, named) as third:
        assert third.found == "second"
    assert log_of(tmp_path) == ""


def test_after_the_machine_was_started_anew_it_is_empty(tmp_path: Path) -> None:
    """Nothing was written through to the disk: there is no telling what is there."""
    named = tmp_path / "mine"
    with server(tmp_path, named) as first:
        pass
    (first.path / "boot").write_text("another")
    with server(tmp_path, named) as second:
        assert second.found == "None"


def test_two_servers_do_not_have_one_directory(tmp_path: Path) -> None:
    """They do not hear each other's notices."""
    named = tmp_path / "mine"
    with server(tmp_path, named) as first, server(tmp_path, named) as second:
        assert second.path != first.path
        assert second.found == "None"
    assert f"{first.path} is used by another server" in log_of(tmp_path)
    assert first.path.exists()
    assert not second.path.exists()


def test_a_directory_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    """A value from there might run as whatever it likes."""
    named = tmp_path / "mine"
    (named / "tonnage-cache").mkdir(parents=True, mode=0o700)
    (named / "tonnage-cache").chmod(0o750)
    with server(tmp_path, named) as found:
        assert (str(found.path), found.found) == ("None", "None")
    assert "goes on without what workers share" in log_of(tmp_path)
    assert "it is not ours alone" in log_of(tmp_path)


def test_a_link_is_not_used(tmp_path: Path) -> None:
    """A link is not used."""
    named, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    named.mkdir()
    elsewhere.mkdir(mode=0o700)
    (named / "tonnage-cache").symlink_to(elsewhere)
    with server(tmp_path, named) as found:
        assert str(found.path) == "None"


def test_what_lies_in_memory_says_so(tmp_path: Path) -> None:
    """It counts against the limit."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or in_memory_as(memory) is None:
        pytest.skip("there is no file system in memory here")
    named = memory / f"tonnage-test-{os.getpid()}"
    try:
        with server(tmp_path, named):
            pass
    finally:
        subprocess.run(["rm", "-r", str(named)], check=True)
    assert "counts as memory; name a directory on a disk" in log_of(tmp_path)


def test_a_link_that_looks_like_what_was_left_behind_is_left_alone(tmp_path: Path) -> None:
    """Anybody may make one where temporary files are, to whatever is ours."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    with server(tmp_path) as first:
        stem = first.path.name.rpartition("-")[0]
    (tmp_path / f"{stem}-link").symlink_to(elsewhere)
    with server(tmp_path) as second:
        assert second.path.name.startswith(stem)
    assert (elsewhere / "kept").exists()


@pytest.mark.usefixtures("own_commons")
def test_all_workers_of_a_server_have_one_directory(tmp_path: Path) -> None:
    """Each time it is asked for, it is theirs still."""
    first = shared_directory(tmp_path)
    token = (first / "server").read_bytes()
    assert shared_directory(tmp_path) == first
    assert (first / "server").read_bytes() == token


@pytest.mark.usefixtures("own_commons")
def test_a_directory_whose_name_workers_could_not_be_told_is_refused(tmp_path: Path) -> None:
    """As long as the kernel lets a name be."""
    named = tmp_path
    while (left := 4070 - len(str(named))) > 1:
        named /= "x" * min(left - 1, 200)
    with pytest.raises(StoreError, match="is too long"):
        shared_directory(named)
