"""The control socket: where it is, how it is called, and that only its owner may use it.

A Unix socket in a directory of mode 0700; no network. Who can open it is trusted. Its name is made
of the address that the server listens on, so that the commands find it (:mod:`tonnage.cli.client`);
one that a running server answers on is never taken away from it. Whoever starts removes what killed
servers of this user have left there.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ListenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SUFFIX: Final = ".sock"
#: So many servers with one address (in network namespaces of their own) get a socket each.
MOST_ALIKE: Final = 9
#: So many files are looked at for sockets that nobody listens on any more; the next start goes on.
MOST_SWEPT: Final = 64
_NAME_CHARS: Final = 24


@dataclass(frozen=True, slots=True)
class Control:
    """An open control socket, its file, and what a person should know about it (mostly nothing)."""

    socket: socket.socket
    path: Path
    warnings: tuple[str, ...] = ()


def control_directories(environ: Mapping[str, str]) -> list[Path]:
    """Return where control sockets of this user can be; the first is where a new one goes.

    The others are for finding one: a server and a shell need not have the same environment.
    """
    user = os.getuid()
    temporary = Path(environ.get("TMPDIR") or "/tmp") / f"tonnage-{user}"
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return [Path(runtime) / "tonnage", temporary]
    return [temporary, Path(f"/run/user/{user}/tonnage")]


def control_path(name: str, environ: Mapping[str, str]) -> Path:
    """Return where the control socket of the server *name* belongs."""
    return control_directories(environ)[0] / f"{name}{SUFFIX}"


def server_name(address: Any) -> str:
    """Return how a server is called among others of the same user.

    *address* is what ``getsockname`` says of its listening socket: ``127.0.0.1-8000`` for host and
    port, ``uds-app.sock-1f0a92c4`` for a file, ``pid-17`` for a socket without a name.
    """
    if isinstance(address, tuple):
        # A scoped address ends in the name of an interface, which may have a hyphen.
        return f"{str(address[0]).replace('-', '_')}-{address[1]}"
    return uds_name(os.fsdecode(address)) if address else f"pid-{os.getpid()}"


def uds_name(path: str) -> str:
    """Return the name of a server that listens on the Unix socket *path*."""
    import zlib  # Only where there is a Unix socket.

    whole = path if path.startswith("\0") else os.path.abspath(path)
    # The path in short, as the name becomes part of another socket's path, with its check sum, as
    # two files can be called alike.
    last = whole.rpartition("/")[2].strip("\0")[:_NAME_CHARS]
    return f"uds-{last}-{zlib.crc32(os.fsencode(whole)):08x}"


def take_control(name: str, environ: Mapping[str, str]) -> Control:
    """Open a control socket for the server *name*; where a running server has it, one beside it.

    Raises:
        ListenError: its directory belongs to somebody else, or it cannot be made.
    """
    wanted = control_path(name, environ)
    beside = [wanted.with_name(f"{name}-{number}{SUFFIX}") for number in range(2, MOST_ALIKE + 1)]
    for path in (wanted, *beside):
        if not _is_taken(path):
            warning = f"{wanted} belongs to another running server: the control socket is {path}"
            return Control(open_control(path), path, () if path == wanted else (warning,))
    raise ListenError(
        f"{MOST_ALIKE} running servers have the control socket {wanted} or one beside it: "
        "give this one an XDG_RUNTIME_DIR of its own"
    )


def open_control(path: Path) -> socket.socket:
    """Listen on *path*; a file that a killed server left there is replaced, others are removed.

    Raises:
        ListenError: a running server answers there and keeps it, the directory belongs to somebody
            else, or it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_private(path.parent):
            raise ListenError(
                f"the control socket's directory {path.parent} must belong to this user with mode "
                "700: remove it, or set XDG_RUNTIME_DIR"
            )
        with _alone_in(path.parent):
            if is_live(path):
                raise ListenError(
                    f"a running server has the control socket {path}: stop it, or set "
                    "XDG_RUNTIME_DIR"
                )
            with suppress(FileNotFoundError):
                path.unlink()
            # Before ours is there, and while nobody else is between making one and listening on it.
            _sweep(path.parent)
            return _listen(path)
    except OSError as error:
        # A path that is too long has a message but no strerror.
        why = error.strerror or error
        raise ListenError(f"cannot make the control socket {path}: {why}") from error


def is_private(directory: Path) -> bool:
    """Return whether *directory* is this user's, and nobody else may enter it."""
    found = directory.stat()
    return found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def is_live(path: Path) -> bool:
    """Return whether somebody listens on the Unix socket *path*; asks nothing and never waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            # The queue is full: it is busy, not gone.
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _is_taken(path: Path) -> bool:
    try:
        return is_live(path)
    except OSError:
        return False  # whatever is wrong with it, opening it tells


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep other servers that start at this moment from replacing what we are about to make."""
    import fcntl

    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Held for some 0.1 ms by each, and given back with the descriptor.
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _sweep(directory: Path) -> None:
    """Remove the sockets that killed servers have left in *directory*, which must be private.

    Where this cannot be told or done, they stay: they do no harm but lie around.
    """
    with os.scandir(directory) as files:
        for file in islice((each for each in files if each.name.endswith(SUFFIX)), MOST_SWEPT):
            with suppress(OSError):
                found = file.stat(follow_symlinks=False)
                is_ours = stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()
                if is_ours and not is_live(Path(file.path)):
                    os.unlink(file.path)


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(os.fspath(path))
        path.chmod(0o600)
        listening.listen(16)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening
