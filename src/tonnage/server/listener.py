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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage.errors import ListenError

if TYPE_CHECKING:
    from pathlib import Path

    from tonnage.settings import ListenSettings

_SO_ATTACH_FILTER = 26
_NAME_CHARS = 24


@dataclass(frozen=True, slots=True)
class Listener:
    """An open listening socket and the URL under which a person reaches it."""

    socket: socket.socket
    url: str
    uds: Path | None = None

    @property
    def name(self) -> str:
        """A short name for this server among others of the same user: its port, or its file."""
        address = self.socket.getsockname()
        if isinstance(address, tuple):
            return str(address[1])
        if not address:
            return f"pid-{os.getpid()}"
        import zlib  # Only where there is a Unix socket.

        # The path in short, as the name becomes part of another socket's path, with its check sum,
        # as two files can be called alike.
        name = os.fsdecode(address)
        last = name.rpartition("/")[2].strip("\0")[:_NAME_CHARS]
        return f"uds-{last}-{zlib.crc32(os.fsencode(name)):08x}"

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


def open_port(host: str, port: int, backlog: int = 16, option: str = "--port") -> Listener:
    """Listen on a TCP port; 0 means any that is free.

    Raises:
        ListenError: the address is in use, not ours or not permitted.
    """
    # As bytes: to encode text, Python loads its tables of all of Unicode.
    name = host.encode() if host.isascii() else host
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ListenError(f"cannot resolve --host {host!r}: {error.strerror}") from error
    # With the protocol named: asyncio sets TCP_NODELAY only on sockets that say IPPROTO_TCP, and
    # without it every small response waits 40 ms for an acknowledgement (720 instead of 9,667
    # requests/s).
    listening = socket.socket(family, kind, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        raise ListenError(_why(error, f"{host}:{port}", option)) from error
    listening.setblocking(False)
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    return Listener(listening, f"http://{shown}:{port}")


def _unix(path: Path, backlog: int) -> Listener:
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(os.fspath(path))
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        raise ListenError(_why(error, os.fspath(path))) from error
    path.chmod(0o666)
    listening.setblocking(False)
    return Listener(listening, f"http+unix://{path}", uds=path)


def _remove_stale(path: Path) -> None:
    """Remove the socket that a server left behind; keep one that somebody listens on."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ListenError(f"--uds {path}: there is a file that is no socket; name another path")
    except FileNotFoundError:
        return
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


def _why(error: OSError, address: str, option: str = "--uds") -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use: stop the other server or choose another {option}"
    if error.errno == errno.EACCES:
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
