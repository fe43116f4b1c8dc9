"""What a deployed server has answered. Frozen records, without judgement.

Collected by :mod:`tonnage.commands.checking.site`, judged by
:mod:`tonnage.commands.checking.sitechecks`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or why there is none.

    Attributes:
        status: of the answer; 0 where there is none.
        headers: names in lower case, and values.
        body: its first bytes.
        asked_seconds: when it was asked for, on the asker's own clock.
        at_seconds: when it had come, on the same clock.
        is_kept: whether the server keeps the connection for another request.
        is_loopback: whether the connection never left this machine.
        error: why there is no answer.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    asked_seconds: float = 0.0
    at_seconds: float = 0.0
    is_kept: bool = False
    is_loopback: bool = False
    error: str = ""

    def header(self, name: str) -> str:
        """Return the header *name*, in lower case; empty if there is none, all if several."""
        return ", ".join(value for known, value in self.headers if known == name)

    def fields(self) -> dict[str, Any]:
        """Return the body as a JSON object; empty if it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def __str__(self) -> str:
        return self.error or f"{self.status}"


def passed_a_proxy(replies: Iterable[Reply]) -> bool:
    """Return whether a proxy has handed on one of *replies*, which our server itself has given.

    It names no program in them (uvicorn is what it named once); a proxy does, as a rule.
    """
    return any(
        reply.header("via") or reply.header("server").lower() not in ("", "uvicorn")
        for reply in replies
    )


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """All that was asked of a server.

    Attributes:
        is_encrypted: whether the URL is https.
        is_here: whether it leads to this machine.
        instances: how many servers there are to be.
        healths: of several questions, each on a connection of its own.
        ready: whether it takes requests.
        memory: its details, with the token if there is one.
        metrics: the same of the metrics; None: they are turned off.
        has_token: whether there was one.
        strangers: what operators alone may see or do, by its path, asked for with the word of a
            proxy that a stranger asks.
        outsiders: the same, without that word; None: from where it was asked, all are trusted.
        plain: the page that was asked for.
        packed: the same, where compression is welcome.
        foreign: the same, asked for by a page of another site.
        missing: a page that no application has.
        large: a body that was announced with a size, and not sent.
        large_bytes: that size.
        rates: answers while the rate limit was looked for, until the first refusal; None: it was
            not looked for.
        unencrypted: the same page by http, where the URL is https.
    """

    is_encrypted: bool
    is_here: bool
    instances: int
    healths: tuple[Reply, ...]
    ready: Reply
    memory: Reply
    metrics: Reply | None
    has_token: bool
    strangers: tuple[tuple[str, Reply], ...]
    outsiders: tuple[tuple[str, Reply], ...] | None
    plain: Reply
    packed: Reply
    foreign: Reply
    missing: Reply
    large: Reply
    large_bytes: int
    rates: tuple[Reply, ...] | None
    unencrypted: Reply | None
