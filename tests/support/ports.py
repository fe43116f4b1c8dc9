"""Ports for servers that must be told theirs, or that come back on the same one.

Tests of several processes run beside each other, so a port that the kernel gives out for an
instant may be another's by the time it is listened on: as a server's, or as the near end of any
connection. These are drawn below those that the kernel gives out by itself. That nobody else takes
one meanwhile is likely, not certain: where a server takes a free port by itself, let it.
"""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from typing import Final

# Above what services commonly have, and below what the kernel gives out (from 32768 by default).
_PORTS: Final = range(10_240, 32_768)
_TRIES: Final = 100
# Not the generator that tests seed: those of two processes would draw the same.
_chance = random.SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, nor will by chance.

    Raises:
        OSError: none was free in a hundred tries.
    """
    for _ in range(_TRIES):
        port = _chance.choice(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port of 127.0.0.1 is free")
