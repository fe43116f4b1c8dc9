"""The control socket: only its owner may use it."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from tonnage.errors import ListenError
from tonnage.server.control import (
    MOST_ALIKE,
    MOST_SWEPT,
    control_directories,
    control_path,
    is_live,
    open_control,
    server_name,
    take_control,
    uds_name,
)


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a short path: a Unix socket's may have 107 bytes."""
    path = tmp_path_factory.mktemp("c")
    assert len(str(path)) < 80
    return path


def test_it_is_where_the_user_has_things_that_run() -> None:
    """XDG_RUNTIME_DIR, which belongs to the user alone."""
    path = control_path("127.0.0.1-8000", {"XDG_RUNTIME_DIR": "/run/user/7"})

    assert path == Path("/run/user/7/tonnage/127.0.0.1-8000.sock")


def test_without_such_a_place_it_is_among_the_temporary_files() -> None:
    """In a directory with the user's id in its name, so that two users do not meet."""
    assert control_path("8000", {}) == Path(f"/tmp/tonnage-{os.getuid()}/8000.sock")
    assert control_path("80", {"TMPDIR": "/t"}) == Path(f"/t/tonnage-{os.getuid()}/80.sock")


def test_a_shell_looks_where_a_server_with_another_environment_put_it() -> None:
    """A service has no XDG_RUNTIME_DIR, a shell has one; or the other way round."""
    user = os.getuid()
    assert control_directories({"XDG_RUNTIME_DIR": "/x"})[1] == Path(f"/tmp/tonnage-{user}")
    assert control_directories({})[1] == Path(f"/run/user/{user}/tonnage")


def test_a_server_is_called_by_what_it_listens_on(directory: Path) -> None:
    """Host and port; of a file the end of its path, told apart from others that end alike."""
    assert server_name(("0.0.0.0", 8000)) == "0.0.0.0-8000"
    assert server_name(("fe80::1%br-0", 80, 0, 3)) == "fe80::1%br_0-80"
    assert server_name("/run/a/app.sock").startswith("uds-app.sock-")
    assert server_name("/run/a/app.sock") != server_name("/run/b/app.sock")
    # It becomes part of another socket's path, which has an end.
    assert len(server_name("/run/" + "c" * 60)) <= 40
    assert server_name("") == f"pid-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(directory / "web.sock"))
        assert server_name(listening.getsockname()) == uds_name(str(directory / "web.sock"))


def test_a_running_servers_socket_is_not_taken_away(directory: Path) -> None:
    """A second server with the same address gets one beside it, and says so."""
    environ = {"XDG_RUNTIME_DIR": str(directory)}
    with take_control("a-1", environ).socket as first, take_control("a-1", environ).socket as other:
        third = take_control("a-1", environ)
        third.socket.close()

        assert first.getsockname() == f"{directory}/tonnage/a-1.sock"
        assert other.getsockname() == f"{directory}/tonnage/a-1-2.sock"
        assert third.path == directory / "tonnage" / "a-1-3.sock"
        assert "a-1.sock belongs to another running server" in third.warnings[0]
        assert is_live(directory / "tonnage" / "a-1.sock")
    # Those are gone, with only the files to tell of them; the name is free again.
    again = take_control("a-1", environ)
    again.socket.close()
    assert (again.path.name, again.warnings) == ("a-1.sock", ())


def test_more_alike_than_there_are_names_for_are_told(directory: Path) -> None:
    """And what to do; the names are bounded."""
    environ = {"XDG_RUNTIME_DIR": str(directory)}
    with ExitStack() as stack:
        for _ in range(MOST_ALIKE):
            stack.enter_context(take_control("a-1", environ).socket)

        with pytest.raises(ListenError, match="give this one an XDG_RUNTIME_DIR of its own"):
            take_control("a-1", environ)


def test_one_that_a_running_server_has_cannot_be_opened(directory: Path) -> None:
    """Even if it came between the look and the opening."""
    path = directory / "tonnage" / "8000.sock"
    with open_control(path):
        with pytest.raises(ListenError, match="a running server has the control socket"):
            open_control(path)

        assert is_live(path)


def test_a_busy_server_is_live(directory: Path) -> None:
    """Its queue is full, which is no reason to take its name."""
    path = directory / "busy.sock"
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(path))
        listening.listen(0)
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break

        assert is_live(path)


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


def test_those_that_killed_servers_have_left_are_removed(directory: Path) -> None:
    """Not what is no socket, has another ending, or is a running server's."""
    here = directory / "tonnage"
    for name in ("dead-1", "dead-2"):
        open_control(here / f"{name}.sock").close()
    (here / "dead-1.reports").mkdir()
    (here / "file.sock").touch()
    (here / "link.sock").symlink_to("dead-2.reports")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(here / "other"))

    with open_control(here / "alive.sock"), open_control(here / "mine.sock"):
        left = sorted(os.listdir(here))

    assert left == [
        *("alive.sock", "dead-1.reports", "file.sock", "link.sock", "mine.sock", "other")
    ]


def test_a_socket_of_another_kind_stays(directory: Path) -> None:
    """Whether anybody reads from it cannot be told."""
    path = directory / "log.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))

        open_control(directory / "mine.sock").close()

        assert path.exists()


def test_so_many_are_looked_at_each_time(directory: Path) -> None:
    """What thousands of crashes have left does not delay a start."""
    for number in range(MOST_SWEPT + 5):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(directory / f"{number}.sock"))

    open_control(directory / "mine.sock").close()
    assert len(os.listdir(directory)) == 5 + 1

    open_control(directory / "other.sock").close()
    assert os.listdir(directory) == ["other.sock"]


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
