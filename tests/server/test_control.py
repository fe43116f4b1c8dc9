"""The control socket: only its owner may use it."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from tonnage.errors import ListenError
from tonnage.server.control import control_path, open_control


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a short path: a Unix socket's may have 107 bytes."""
    path = tmp_path_factory.mktemp("c")
    assert len(str(path)) < 80
    return path


def test_it_is_where_the_user_has_things_that_run() -> None:
    """XDG_RUNTIME_DIR, which belongs to the user alone."""
    path = control_path("8000", {"XDG_RUNTIME_DIR": "/run/user/7"})

    assert path == Path("/run/user/7/tonnage/8000.sock")


def test_without_such_a_place_it_is_among_the_temporary_files() -> None:
    """In a directory with the user's id in its name, so that two users do not meet."""
    assert control_path("8000", {}) == Path(f"/tmp/tonnage-{os.getuid()}/8000.sock")
    assert control_path("80", {"TMPDIR": "/t"}) == Path(f"/t/tonnage-{os.getuid()}/80.sock")


def test_nobody_else_may_reach_it(directory: Path) -> None:
    """Neither the directory nor the socket."""
    path = directory / "tonnage" / "8000.sock"

    open_control(path).close()

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_left_behind_is_replaced(directory: Path) -> None:
    """The server before was killed; its successor answers."""
    path = directory / "tonnage" / "8000.sock"
    open_control(path).close()

    with open_control(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_directory_that_others_may_enter_is_refused(directory: Path) -> None:
    """Whoever made it could put their own socket in; the message says what to do."""
    directory.chmod(0o755)

    with pytest.raises(ListenError, match="must belong to this user with mode 700: remove it"):
        open_control(directory / "8000.sock")


def test_a_place_where_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    """With the reason in the message."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ListenError, match=r"cannot make the control socket .*Not a directory"):
        open_control(tmp_path / "file" / "tonnage" / "8000.sock")


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    """The system gives no reason in the usual place, and it is told none the less."""
    path = tmp_path / ("x" * 120) / "8000.sock"

    with pytest.raises(ListenError, match="too long"):
        open_control(path)
