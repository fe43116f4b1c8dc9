"""The first import: a server whose application cannot be imported ends, but for ``--reload``.

There whoever mends a file is waiting in the browser: until one is changed, every request is
answered at once, with 503 and the error's file and line. For development: anybody who reaches the
port reads the error. Later imports are :mod:`tonnage.server.renewal`'s, and leave the old code
serving.

Bounded: one connection at a time, one answer each, :data:`ANSWER_SECONDS` at most.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tonnage.errors import WorkerError
from tonnage.ops.answers import problem
from tonnage.server.conversation import LONGEST_HEAD_BYTES, NotHttpError, read_head, write
from tonnage.server.reload import EVERY_SECONDS

if TYPE_CHECKING:
    from tonnage.answer import Answer
    from tonnage.server.listener import Listener
    from tonnage.server.nursery import Nursery
    from tonnage.server.reload import SourceWatch

logger = logging.getLogger("tonnage.supervisor")

ANSWER_SECONDS: Final = 1.0


def finish_first(nursery: Nursery, listener: Listener, source: SourceWatch | None) -> None:
    """Wait until *nursery* has imported the application.

    Args:
        nursery: has begun to.
        listener: where a failure is answered meanwhile.
        source: tells of changed files; None: a failure is the end.

    Raises:
        TargetError: the application was not found or is none.
        WorkerError: its own code failed, or took too long, and there is no *source*.
    """
    while True:
        try:
            nursery.finish()
            return
        except WorkerError as error:
            if source is None:
                raise
            logger.error("%s", error)
            logger.info("%s answers 503 with that until a file is changed", listener.url)
            changed = _answer_until_changed(listener.socket, str(error), source)
        logger.info("%s changed: importing the application anew", changed)
        nursery.begin()


def _answer_until_changed(listening: socket.socket, why: str, source: SourceWatch) -> str:
    answer = problem(503, "import_failed", why)
    look_at = time.monotonic()
    while True:
        if time.monotonic() >= look_at:
            if changed := source.changed():
                return changed
            look_at = time.monotonic() + EVERY_SECONDS
        if select.select([listening], [], [], EVERY_SECONDS)[0]:
            # Whoever has gone, or speaks no HTTP, gets none.
            with suppress(OSError, NotHttpError):
                _answer(listening.accept()[0], answer)


def _answer(connection: socket.socket, answer: Answer) -> None:
    until = time.monotonic() + ANSWER_SECONDS
    with connection:
        connection.settimeout(ANSWER_SECONDS)
        head = read_head(connection.recv(LONGEST_HEAD_BYTES))
        connection.sendall(write(answer, head.method if head else "GET"))
        connection.shutdown(socket.SHUT_WR)
        # Closed with a body unread, the connection would be reset, and the answer perhaps lost.
        while time.monotonic() < until and connection.recv(LONGEST_HEAD_BYTES):
            pass
