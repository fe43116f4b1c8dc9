"""The listening socket: opened once by the supervisor, shared by every worker.

Also closes the door without losing anybody: see :func:`close_door`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tonnage.errors import ListenError

if TYPE_CHECKING:
    from pathlib import Path

    from tonnage.settings import ListenSettings

_SO_ATTACH_FILTER = 26
_WANT_OF_ROOM = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


@dataclass(frozen=True, slots=True)
class Listener:
    """An open listening socket and the URL under which a person reaches it."""

    socket: socket.socket
    url: str
    uds: Path | None = None

    def hint(self, path: str) -> str:
        """Return how a person asks for *path*: a URL, or a command for a Unix socket."""
        if self.uds is not None:
            return f"curl --unix-socket {self.uds} http://localhost{path}"
        return self.url + path if self.url.startswith("http") else f"{path} on {self.url}"

    def close(self) -> None:
        """Close the socket, and remove the file of a Unix socket that we made."""
        self.socket.close()
        if self.uds is not None:
            self.uds.unlink(missing_ok=True)


def open_listener(settings: ListenSettings) -> Listener:
    """Open the socket that *settings* ask for.

    Raises:
        ListenError: the address is in use, not ours or not permitted.
    """
    if settings.fd is not None:
        return _from_fd(settings.fd)
    if settings.uds is not None:
        return _unix(settings.uds, settings.backlog)
    return open_port(settings.host, settings.port, settings.backlog)


def is_for_want_of_room(error: OSError) -> bool:
    """Return whether ``accept`` failed for our side's want: the connection is still to be taken."""
    return error.errno in _WANT_OF_ROOM


def open_port(host: str, port: int, backlog: int = 16, option: str = "--port") -> Listener:
    """Listen on a TCP port; 0 means any that is free.

    Raises:
        ListenError: the address is in use, not ours or not permitted.
    """
    # As bytes: to encode text, Python loads its tables of all of Unicode.
    asked = host.encode() if host.isascii() else host
    try:
        family, _, _, _, address = socket.getaddrinfo(
            asked or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ListenError(f"cannot resolve --host {host!r}: {error.strerror}") from error
    name = f"{host}:{port}"
    # With the protocol named: asyncio sets TCP_NODELAY only on sockets that say IPPROTO_TCP, and
    # without it every small response waits 40 ms for an acknowledgement (720 instead of 9,667
    # requests/s).
    listening = _listen(family, socket.IPPROTO_TCP, address, backlog, name, option)
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    return Listener(listening, f"http://{shown}:{port}")


def _unix(path: Path, backlog: int) -> Listener:
    _remove_stale(path)
    name = os.fspath(path)
    listening = _listen(socket.AF_UNIX, 0, name, backlog, name, "--uds")
    path.chmod(0o666)
    return Listener(listening, f"http+unix://{path}", uds=path)


def _listen(
    family: int, protocol: int, address: Any, backlog: int, name: str, option: str
) -> socket.socket:
    """Return a socket that listens on *address*, which *option* has as *name*."""
    try:
        with ExitStack() as stack:
            listening = stack.enter_context(socket.socket(family, socket.SOCK_STREAM, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(backlog)
            listening.setblocking(False)
            stack.pop_all()
            return listening
    except OSError as error:
        raise ListenError(_why(error, name, option)) from error


def _remove_stale(path: Path) -> None:
    """Remove the socket that a server left behind; keep one that somebody listens on."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ListenError(f"--uds {path}: there is a file that is no socket; name another path")
    except OSError:
        return  # there is none; where none can be, binding says why
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ListenError(f"--uds {path} cannot be looked at: {error.strerror}") from error
    raise ListenError(f"--uds {path} is in use by a running server; stop it or name another path")


def _from_fd(fd: int) -> Listener:
    try:
        listening = socket.socket(fileno=fd)
        accepts = listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"--fd {fd} is not an open socket: {error.strerror}") from error
    if not accepts:
        listening.close()
        raise ListenError(f"--fd {fd} is a socket that does not listen")
    listening.setblocking(False)
    return Listener(listening, f"file descriptor {fd}")


def _why(error: OSError, address: str, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use: stop the other server or choose another {option}"
    if error.errno == errno.EACCES and option != "--uds":
        return f"{address}: permission denied; ports below 1024 need privileges, try --port 8000"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is no address of this machine: try --host 127.0.0.1 or 0.0.0.0"
    # A path that is too long has a message but no strerror.
    return f"cannot listen on {address}: {error.strerror or error}"


def close_door(listening: socket.socket) -> bool:
    """Let no new connection in, and keep those already in the queue; return whether that worked.

    Closing a listening socket resets every connection that the kernel has established but nobody
    has accepted, so their clients lose a request. A socket filter that drops all packets keeps new
    handshakes out (their clients retry and are then refused), while the queue can be emptied. On
    Unix sockets there is no such filter; there, and where the kernel refuses, this does nothing.
    """
    if listening.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    # One instruction of classic BPF: return 0, that is, keep no byte of the packet.
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True
