"""A deployed server is asked what its operator would ask.

Promises: 19 requests, one after the other, 6 more where they come from another machine or through a
proxy, one more where the URL is https, and as many as the user allows for finding the rate limit.
Nothing is changed, with one exception where the server is open
to strangers: ``POST /cache/clear`` is tried as one, and then clears its caches. The token goes to
``/health/memory`` and the metrics alone, and to another machine only where the connection is
encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.commands.checking.sitefacts import Reply, SiteFacts, passed_a_proxy
from tonnage.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tonnage.commands.checking.asking import Asker

#: How often health is asked: servers that take turns show within a few answers.
HEALTH_ASKS: Final = 5

_TOO_MANY: Final = 429
# A loopback peer is trusted; one that says it came through a proxy is a stranger. The address is
# from the block for documentation, which nobody has.
_FORWARDED: Final = {"x-forwarded-for": "203.0.113.7"}
_FOREIGN: Final = {"origin": "https://tonnage-check.invalid", "cookie": "tonnage-check=1"}
_MISSING_PATH: Final = "/tonnage-check/no-such-page"


@dataclass(frozen=True, slots=True)
class SiteQuestions:
    """What a user wants to have asked.

    Attributes:
        health_path: where health is.
        metrics_path: where the metrics are; empty: there are none.
        page_path: where the live page is; empty: there is none.
        admin_token: shows details; None: nothing does, unless the server is on this machine.
        path: a page that is compressed where anything is.
        announced_bytes: the body that is to be refused for its size.
        most_rate_requests: how many requests may be spent on the rate limit; None: none.
        instances: how many servers there are to be.
    """

    health_path: str
    metrics_path: str
    page_path: str
    admin_token: str | None
    path: str
    announced_bytes: int
    most_rate_requests: int | None
    instances: int


def look_at(asker: Asker, asked: SiteQuestions) -> SiteFacts:
    """Return what the server answers.

    Raises:
        UsageError: it does not answer at all.
    """
    first = asker.ask(asked.health_path)
    if first.error:
        raise UsageError(f"{asker.host} cannot be asked: {first.error}")
    healths = [first, *(asker.ask(asked.health_path) for _ in range(HEALTH_ASKS - 1))]
    may_send_token = asked.admin_token is not None and (asker.is_encrypted or asker.is_here)
    # Whoever asks on the machine itself is trusted: of strangers that would say nothing, and it
    # would clear the caches.
    is_outside = not first.is_loopback or passed_a_proxy(healths)
    authorised = {"authorization": f"Bearer {asked.admin_token}"} if may_send_token else {}
    return SiteFacts(
        is_encrypted=asker.is_encrypted,
        is_here=asker.is_here,
        instances=asked.instances,
        healths=tuple(healths),
        ready=asker.ask(f"{asked.health_path}/ready"),
        memory=asker.ask(f"{asked.health_path}/memory", authorised),
        metrics=asker.ask(asked.metrics_path, authorised) if asked.metrics_path else None,
        has_token=may_send_token,
        strangers=tuple(_as_stranger(asker, asked, _FORWARDED)),
        # A proxy that says nothing of whom it asks for passes such a header on: for what it lets
        # through, it is asked without.
        outsiders=tuple(_as_stranger(asker, asked, {})) if is_outside else None,
        plain=asker.ask(asked.path),
        packed=asker.ask(asked.path, {"accept-encoding": "gzip"}),
        foreign=asker.ask(asked.path, _FOREIGN),
        missing=asker.ask(_MISSING_PATH),
        large=asker.ask(asked.path, method="POST", announced_bytes=asked.announced_bytes),
        large_bytes=asked.announced_bytes,
        # Last: afterwards everything may be refused for a while.
        rates=_rates(asker, asked),
        unencrypted=asker.ask_unencrypted(asked.path) if asker.is_encrypted else None,
    )


def _as_stranger(
    asker: Asker, asked: SiteQuestions, headers: Mapping[str, str]
) -> Iterator[tuple[str, Reply]]:
    for method, path in (
        ("GET", f"{asked.health_path}/memory"),
        *([("GET", asked.metrics_path)] if asked.metrics_path else ()),
        *([("GET", f"{asked.page_path}/state")] if asked.page_path else ()),
        ("GET", "/security/events"),
        ("POST", "/cache/clear"),
        ("POST", "/api/cache/clear"),
    ):
        yield f"{method} {path}", asker.ask(path, headers, method=method)


def _rates(asker: Asker, asked: SiteQuestions) -> tuple[Reply, ...] | None:
    if asked.most_rate_requests is None:
        return None
    replies: list[Reply] = []
    while len(replies) < asked.most_rate_requests:
        replies.append(asker.ask(asked.path))
        if replies[-1].status == _TOO_MANY or replies[-1].error:
            break
    return tuple(replies)
