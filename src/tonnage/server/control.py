"""The control socket: where it is, and that only its owner may use it.

A Unix socket in a directory of mode 0700; no network. Who can open it is trusted.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tonnage.errors import ListenError

if TYPE_CHECKING:
    from collections.abc import Mapping


def control_path(name: str, environ: Mapping[str, str]) -> Path:
    """Return where the control socket of the server *name* (its port) belongs."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) / "tonnage" if runtime else _in_temporary(environ)
    return base / f"{name}.sock"


def _in_temporary(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("TMPDIR") or "/tmp") / f"tonnage-{os.getuid()}"


def open_control(path: Path) -> socket.socket:
    """Listen on *path*.

    Raises:
        ListenError: its directory belongs to somebody else, or it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.parent.stat()
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise ListenError(
                f"the control socket's directory {path.parent} must belong to this user with mode "
                "700: remove it, or set XDG_RUNTIME_DIR"
            )
        with suppress(FileNotFoundError):
            path.unlink()
        return _listen(path)
    except OSError as error:
        # A path that is too long has a message but no strerror.
        why = error.strerror or error
        raise ListenError(f"cannot make the control socket {path}: {why}") from error


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
