"""Asking the supervisor on its control socket, which a benchmark puts where it can find it."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.peers import Peer

TIMEOUT_SECONDS = 5.0


def with_control(peer: Peer, directory: str) -> Peer:
    """Return *peer* with its control socket, if it has one, below *directory*."""
    return replace(peer, environment=peer.environment | {"XDG_RUNTIME_DIR": directory})


def ask(directory: str, path: str, method: str = "GET") -> Any:
    """Return the JSON that the one server below *directory* answers; None where there is none."""
    sockets = list(Path(directory).rglob("*.sock"))
    if not sockets:
        return None
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(TIMEOUT_SECONDS)
        connection.sock.connect(str(sockets[0]))
        connection.request(method, path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
