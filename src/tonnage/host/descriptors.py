"""Closing what a forked child should not have.

A child inherits every descriptor of its parent: a connection that the parent closes then stays
open, and a port stays taken for as long as the child lives.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_ANY: Final = ("0.0.0.0", "::")


def open_descriptors() -> frozenset[int]:
    """Return the descriptors that are open now; none where the system does not tell."""
    try:
        listed = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return frozenset()
    # The list holds the descriptor by which it was read, and which is closed again by now.
    return frozenset(fd for fd in listed if os.path.lexists(f"/proc/self/fd/{fd}"))


def close_served(listening: socket.socket, *others: int) -> None:
    """Close *listening*, every connection that was accepted on it, and *others*, in a fork.

    For a child that an application has forked from a worker: it would keep the port taken and the
    worker's clients waiting for as long as it lives.
    """
    kind, address = _socket_at(listening.fileno())
    for fd in open_descriptors():
        with suppress(OSError):
            if fd in others or _was_accepted_at(kind, address, fd):
                os.close(fd)


def is_socket(fd: int) -> bool:
    """Whether the open descriptor *fd* is a socket."""
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


def _socket_at(fd: int) -> tuple[Any, Any]:
    """Return of what kind the socket *fd* is, and its own address; None and None: it is none."""
    if not is_socket(fd):
        return None, None
    with socket.socket(fileno=os.dup(fd)) as copy:
        return (copy.family, copy.type), copy.getsockname()


def _was_accepted_at(kind: Any, address: Any, fd: int) -> bool:
    its_kind, its_address = _socket_at(fd)
    if its_kind != kind:
        return False
    # Who listens on all addresses has accepted each connection on one of them.
    if isinstance(address, tuple) and address[0] in _ANY:
        return bool(its_address[1] == address[1])
    return bool(its_address == address)


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor that is not among *kept*, for a child that has just been forked.

    The parent's objects for them are never used, nor freed, in the child.
    """
    for fd in open_descriptors().difference(kept):
        with suppress(OSError):
            os.close(fd)
