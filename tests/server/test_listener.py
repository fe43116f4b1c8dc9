"""The listening socket: where it can be, what is said where it cannot, and how its door closes."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.descriptors import no_descriptor_free

from tonnage.config import load_settings
from tonnage.errors import ListenError
from tonnage.server.listener import Listener, close_door, open_listener, open_port
from tonnage.settings import ListenSettings


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a short path: a Unix socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="tonnage-") as path:
        yield Path(path)


def settings(**flags: str) -> ListenSettings:
    """Return settings for a socket."""
    return load_settings({"target": "main:app", **flags}, {}, Path("/")).listen


def opened(**flags: str) -> closing[Listener]:
    """Return the listener for *flags*, to be closed at the end of a ``with`` block."""
    return closing(open_listener(settings(**flags)))


def test_a_port_is_opened_and_named() -> None:
    """The URL has the real port where any was asked for."""
    with opened(port="0") as listener:
        port = listener.socket.getsockname()[1]

        assert listener.url == f"http://127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port)).close()


def test_the_option_that_chose_a_port_is_named() -> None:
    """Who has set --admin-port is not told to change --port."""
    with opened(port="0") as listener:
        port = listener.socket.getsockname()[1]

        with pytest.raises(ListenError, match=r"is in use: .* choose another --port$"):
            open_port("127.0.0.1", port)
        with pytest.raises(ListenError, match=r"is in use: .* choose another --admin-port$"):
            open_port("127.0.0.1", port, option="--admin-port")


def test_a_path_is_hinted_at_as_a_person_asks_for_it(directory: Path) -> None:
    """A URL; where there is none, a command."""
    path = directory / "app.sock"
    with opened(port="0") as port, opened(uds=str(path)) as uds, port.socket.dup() as given:
        assert port.hint("/health") == f"{port.url}/health"
        assert uds.hint("/health") == f"curl --unix-socket {path} http://localhost/health"
        with opened(fd=str(given.fileno())) as fd:
            assert fd.hint("/health") == f"/health on {fd.url}"
            given.detach()


def test_the_socket_says_that_it_is_tcp() -> None:
    """Asyncio sets TCP_NODELAY only on those; without it small answers wait for 40 ms."""
    with opened(port="0") as listener:
        assert listener.socket.proto == socket.IPPROTO_TCP


def test_a_version_6_address_is_written_in_brackets() -> None:
    """As a URL needs it."""
    try:
        listener = open_port("::1", 0)
    except ListenError:
        pytest.skip("no IPv6 here")

    with closing(listener):
        assert listener.url.startswith("http://[::1]:")


def test_a_socket_that_cannot_be_made_is_told() -> None:
    """As for an address of version 6 where the kernel has none; here there is no descriptor."""
    told = r"cannot listen on 127.0.0.1:0: Too many open files"
    with no_descriptor_free(), pytest.raises(ListenError, match=told):
        open_port("127.0.0.1", 0)


def test_a_port_in_use_is_told() -> None:
    """With what to do."""
    with opened(port="0") as listener:
        port = str(listener.socket.getsockname()[1])
        with pytest.raises(ListenError, match=f"127.0.0.1:{port} is in use: .* another --port"):
            open_listener(settings(port=port))


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("no.such.host.invalid", "cannot resolve --host 'no.such.host.invalid'"),
        ("192.0.2.1", "192.0.2.1:0 is no address of this machine: try --host 127.0.0.1"),
    ],
)
def test_a_host_that_is_not_ours_is_told(host: str, words: str) -> None:
    """A name that does not exist, and an address of another machine (RFC 5737 keeps it free)."""
    with pytest.raises(ListenError, match=words):
        open_listener(settings(host=host, port="0"))


def test_a_unix_socket_is_opened_and_removed(directory: Path) -> None:
    """A proxy that runs as another user may connect."""
    path = directory / "app.sock"
    with opened(uds=str(path)) as listener:
        assert listener.url == f"http+unix://{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o666

    assert not path.exists()


def test_a_unix_socket_left_behind_is_replaced(directory: Path) -> None:
    """Its server was killed."""
    path = directory / "app.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    with opened(uds=str(path)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_unix_socket_in_use_is_told(directory: Path) -> None:
    """And stays as it is."""
    path = directory / "app.sock"
    with opened(uds=str(path)), socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(ListenError, match="is in use by a running server; stop it or name"):
            open_listener(settings(uds=str(path)))
        client.connect(str(path))


def test_a_file_that_is_no_socket_is_kept(directory: Path) -> None:
    """It may be somebody's work."""
    path = directory / "app.sock"
    path.write_text("precious")

    with pytest.raises(ListenError, match="there is a file that is no socket; name another path"):
        open_listener(settings(uds=str(path)))
    assert path.read_text() == "precious"


def test_a_unix_socket_where_none_can_be_is_told(directory: Path) -> None:
    """With the reason: no such directory, or a name that is too long for the kernel."""
    (directory / "file").touch()
    with pytest.raises(ListenError, match=r"cannot listen on .*No such file or directory"):
        open_listener(settings(uds=str(directory / "none" / "app.sock")))
    with pytest.raises(ListenError, match=r"cannot listen on .*Not a directory"):
        open_listener(settings(uds=str(directory / "file" / "app.sock")))
    for length in (120, 300):
        with pytest.raises(ListenError, match="too long"):
            open_listener(settings(uds=str(directory / ("x" * length))))


def test_a_unix_socket_that_is_not_permitted_is_told_without_a_word_on_ports(
    directory: Path,
) -> None:
    """In a process of its own, that is nobody's: a test may run as root."""
    directory.chmod(0o700)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.setuid(65534) if os.getuid() == 0 else directory.chmod(0o000)
        try:
            open_listener(settings(uds=str(directory / "app.sock")))
        except (OSError, ListenError) as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    directory.chmod(0o700)
    os.close(writer)
    with open(reader, encoding="utf-8") as said:
        assert said.read() == (
            f"ListenError: cannot listen on {directory}/app.sock: Permission denied"
        )


def test_a_descriptor_that_listens_is_taken() -> None:
    """As systemd hands one over."""
    with (
        socket.create_server(("127.0.0.1", 0)) as given,
        opened(fd=str(os.dup(given.fileno()))) as listener,
    ):
        assert listener.socket.getsockname() == given.getsockname()
        assert listener.url.startswith("file descriptor ")


def test_a_descriptor_that_is_no_listening_socket_is_told() -> None:
    """Neither a closed one nor one of another kind will do."""
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(ListenError, match=f"--fd {reader} is not an open socket: "):
        open_listener(settings(fd=str(reader)))
    os.close(reader)
    with pytest.raises(ListenError, match=f"--fd {reader} is not an open socket: Bad file"):
        open_listener(settings(fd=str(reader)))
    with socket.socket() as idle, pytest.raises(ListenError, match="does not listen"):
        open_listener(settings(fd=str(os.dup(idle.fileno()))))


def test_a_closed_door_keeps_those_who_are_in() -> None:
    """A connection that waits to be accepted is served; a new one finds nobody."""
    with opened(port="0") as listener:
        address = listener.socket.getsockname()
        with socket.create_connection(address, 5.0) as waiting:
            waiting.send(b"hello")
            if not close_door(listener.socket):
                pytest.skip("this kernel allows socket filters to privileged users only")

            with pytest.raises(OSError, match="timed out"):
                socket.create_connection(address, 0.05)

            accepted, _ = listener.socket.accept()
            with accepted:
                accepted.send(b"welcome")
                assert accepted.recv(100) == b"hello"
                assert waiting.recv(100) == b"welcome"


def test_a_unix_socket_has_no_such_door(directory: Path) -> None:
    """There, closing it does nothing, and harms nothing."""
    path = directory / "app.sock"
    with opened(uds=str(path)) as listener, socket.socket(socket.AF_UNIX) as client:
        assert not close_door(listener.socket)
        client.connect(str(path))
