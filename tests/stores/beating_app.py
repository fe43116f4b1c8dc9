"""An application whose sessions beat: ``/beat?id=...``; what has ended is a line in a file."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from tonnage import Heartbeats
from tonnage.stores.heartbeats.sessions import Session


def note(session: Session) -> None:
    """Write down that a session has ended."""
    with open(os.environ["ENDED_FILE"], "a") as file:
        file.write(f"{session.id} {session.duration_seconds:.3f}\n")


heartbeats = Heartbeats(
    os.environ["SESSIONS_URL"],
    flush_seconds=os.environ["FLUSH_SECONDS"],
    silence_seconds=os.environ["SILENCE_SECONDS"],
    sweep_seconds="0.2s",
    on_end=note,
)


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Take a beat, and say which worker that was."""
    if scope["type"] != "http":
        return
    [session_id] = parse_qs(scope["query_string"].decode())["id"]
    await heartbeats.beat(session_id)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
