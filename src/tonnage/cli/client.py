"""A running server's control socket: which one is meant, and HTTP over it.

Promises that a server which cannot be found, reached or understood is an `ActionError` or a
`UsageError` of one line. What is asked is in :mod:`tonnage.cli.control`, what answers in
:mod:`tonnage.server.actions`.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ActionError, UsageError
from tonnage.server.control import SUFFIX, control_directories, is_live, is_private, uds_name

if TYPE_CHECKING:
    import argparse

# The supervisor answers within milliseconds, unless the machine has come to a standstill.
PATIENCE_SECONDS: Final = 10.0

_ADDRESS = re.compile(r"(?!uds-|pid-)(?P<host>[^-]+)-(?P<port>\d+)(?:-\d)?")
_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """The server that is meant: by its address, or by its control socket; all None: the one."""

    host: str | None = None
    port: int | None = None
    uds: str | None = None
    control: str | None = None

    def __str__(self) -> str:
        flags = ((f"--{name}", getattr(self, name)) for name in ("host", "port", "uds"))
        return " ".join(f"{flag} {value}" for flag, value in flags if value is not None)

    def fits(self, name: str) -> bool:
        """Return whether the server of the control socket *name* can be meant."""
        if self.uds is not None:
            return re.fullmatch(re.escape(uds_name(self.uds)) + r"(-\d)?", name) is not None
        if self.host is None and self.port is None:
            return True
        address = _ADDRESS.fullmatch(name)
        if address is None or self.port not in (None, int(address["port"])):
            return False
        return self.host is None or address["host"] in (*_EVERYWHERE, *_addresses(self.host))


def chosen(arguments: argparse.Namespace) -> ServerChoice:
    """Return the server that *arguments* mean, as :func:`tonnage.cli.control.add_choice` has them.

    Raises:
        UsageError: they do not go together.
    """
    if arguments.host is not None and (arguments.uds or arguments.control):
        raise UsageError("--host goes with --port: a Unix socket has no host")
    return ServerChoice(arguments.host, arguments.port, arguments.uds, arguments.control)


def find_server(wanted: ServerChoice, environ: Mapping[str, str]) -> Path:
    """Return the control socket of the one running server that is *wanted*.

    Of several, the only one in the caller's own XDG_RUNTIME_DIR: whoever sets that means it.

    Raises:
        ActionError: there is none.
        UsageError: there are several.
    """
    if wanted.control is not None:
        return Path(wanted.control)
    running = running_servers(environ)
    found = [path for path in running if wanted.fits(path.stem)]
    if environ.get("XDG_RUNTIME_DIR") and len(found) > 1:
        own = [path for path in found if path.parent == control_directories(environ)[0]]
        found = own if len(own) == 1 else found
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(_choice(path, found) for path in found)
        raise UsageError(f"{len(found)} servers are running: choose one with {choices}")
    if running:
        shown = ", ".join(map(str, running))
        raise ActionError(f"no running server listens on {wanted}; control sockets: {shown}")
    raise ActionError(
        "no running server of this user is found: start one, or name its control socket, which it "
        "prints when it starts, with --control PATH"
    )


def is_running(wanted: ServerChoice, environ: Mapping[str, str]) -> bool:
    """Return whether a server runs that can be *wanted*."""
    if wanted.control is not None:
        try:
            return is_live(Path(wanted.control))
        except OSError:
            return True  # it cannot be told: whoever asks it learns why
    return any(wanted.fits(path.stem) for path in running_servers(environ))


def _choice(path: Path, found: list[Path]) -> str:
    """Return what to write to mean the server of *path*, and no other of those *found*."""
    address = _ADDRESS.fullmatch(path.stem)
    if address is not None:
        by_port = ServerChoice(port=int(address["port"]))
        if sum(by_port.fits(each.stem) for each in found) == 1:
            return f"{by_port} ({path})"
    return f"--control {path}"


def running_servers(environ: Mapping[str, str]) -> list[Path]:
    """Return the control sockets of this user that somebody answers on."""
    found: dict[Path, None] = {}
    for directory in control_directories(environ):
        try:
            if is_private(directory):
                found |= dict.fromkeys(sorted(filter(is_live, directory.glob(f"*{SUFFIX}"))))
        except OSError:
            continue  # there is none, or it is not ours
    return list(found)


class Client:
    """Asks the server behind the control socket *path*."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, target: str) -> Any:
        """Return what *target* answers, which is JSON; raises as :meth:`ask` does."""
        return _parsed(self.ask("GET", target))

    def post(self, target: str) -> Any:
        """Have *target* done, and return its answer, which is JSON; raises as :meth:`ask` does."""
        return _parsed(self.ask("POST", target))

    def ask(self, method: str, target: str) -> bytes:
        """Return the body of the answer.

        Raises:
            ActionError: the server refuses, or cannot be reached.
            UsageError: it says that the question makes no sense.
        """
        connection = _Connection(self._path)
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ActionError(
                f"the server behind {self._path} does not answer: {why}; is it running, and yours?"
            ) from error
        finally:
            connection.close()
        if status < 300:
            return body
        detail = _detail(body) or f"it answers {status}: it may be of another version"
        raise UsageError(detail) if status == 400 else ActionError(detail)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("tonnage", timeout=PATIENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise ActionError("the server's answer is no JSON: is it a Tonnage server?") from error


def _detail(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    detail = found.get("detail") if isinstance(found, dict) else None
    return " ".join(str(detail).split()) if detail else None


def _addresses(host: str) -> set[str]:
    """Return the addresses that *host* can be written as; a server is called by its number."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)} | {host}
    except OSError:
        return {host}
