"""Whether this process can be forked after its imports, and what it holds open.

A fork copies only the calling thread: locks that another thread holds stay locked for ever in the
child, and connections that were opened before are shared by all children.
"""

from __future__ import annotations

import os
import socket
import threading

from tonnage.host.descriptors import is_socket, open_descriptors


def why_not_fork() -> str | None:
    """Return why a fork is not safe here (threads were started), or None if it is."""
    try:
        count = len(os.listdir("/proc/self/task"))
    except OSError:
        count = threading.active_count()
    if count <= 1:
        return None
    named = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    ]
    started = ", ".join(named[:5]) if named else "by a library in C"
    return f"importing the application started {count - 1} thread(s): {started}"


def sockets_opened(known: frozenset[int]) -> list[str]:
    """Return, in words, the sockets among our descriptors that are not in *known*."""
    opened = sorted(open_descriptors() - known)
    return [f"{_describe(fd)} (descriptor {fd})" for fd in opened if is_socket(fd)]


def _describe(fd: int) -> str:
    try:
        with socket.socket(fileno=os.dup(fd)) as opened:
            peer = opened.getpeername()
    except OSError:
        return "a socket"
    if isinstance(peer, tuple):
        return f"a connection to {peer[0]}:{peer[1]}"
    return f"a connection to {os.fsdecode(peer)}" if peer else "a socket"
