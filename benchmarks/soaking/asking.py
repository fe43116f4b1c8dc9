"""People who ask the four backends, each from an address of their own, and what they are answered.

Every request is counted once: meant (a status that the one who asks knows what to do with), refused
(429, 503), unmeant (any other status), or broken (no whole answer). Answers to requests that met no
fault are counted a second time, for themselves. Who is refused waits as long as ``Retry-After``
says before the next request, but no longer than ``PATIENCE_SECONDS``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import random
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.soaking.timetable import Spell, is_calm

TIMEOUT_SECONDS = 40.0
"""Longer than the backends' own 30 s: they are to answer, also where they have to give up."""

PATIENCE_SECONDS = 5.0
DYING_SECONDS = 1.0
"""How long a killed process may take until its connections are closed."""

SHOWN_CHARACTERS = 200
_REFUSED = frozenset({429, 503})
_addresses = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Broken:
    """A request that got no whole answer, and when it was under way by the monotonic clock."""

    what: str
    began: float
    ended: float


@dataclass(slots=True)
class Tally:
    """What became of the requests; bounded by what goes wrong."""

    statuses: Counter[int] = field(default_factory=Counter)
    refused: int = 0
    #: Answers while nothing went wrong, and how many of them were refusals.
    calm: int = 0
    calm_refused: int = 0
    #: Refusals without ``Retry-After``, and answers that nobody meant: what was asked and answered.
    bare: list[str] = field(default_factory=list)
    unmeant: list[str] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All requests."""
        return self.statuses.total() + len(self.broken)

    def note(
        self, what: str, answer: httpx.Response, means: Collection[int], *, is_calm: bool
    ) -> None:
        """Count an answer; *is_calm*: nothing went wrong meanwhile."""
        self.statuses[answer.status_code] += 1
        self.calm += is_calm
        if answer.status_code in means:
            return
        number = answer.headers.get("x-request-id", "")  # as the server's log has it
        said = f"{what}: {answer.status_code} {answer.text[:SHOWN_CHARACTERS]} {number}".rstrip()
        if answer.status_code not in _REFUSED:
            self.unmeant.append(said)
            return
        self.refused += 1
        self.calm_refused += is_calm
        if "retry-after" not in answer.headers:
            self.bare.append(said)


def unexplained(broken: Sequence[Broken], kills: Sequence[float]) -> list[Broken]:
    """Return those of *broken* that were not under way when a worker was killed.

    Nor sent in the moment after that: who dies takes a while to close what it has open.
    """
    return [
        each
        for each in broken
        if not any(each.began - DYING_SECONDS <= kill <= each.ended for kill in kills)
    ]


class OverError(Exception):
    """Nobody asks any more."""


@dataclass(slots=True)
class World:
    """What all people have in common: the server they ask, and what became of their requests."""

    client: httpx.AsyncClient
    chance: random.Random
    tally: Tally = field(default_factory=Tally)
    #: One for each fault of the timetable.
    spells: list[Spell] = field(default_factory=list)
    is_over: bool = False

    @contextlib.contextmanager
    def spell(self, kind: str) -> Iterator[None]:
        """Note that something goes wrong as long as the block lasts."""
        spell = Spell(kind, time.monotonic())
        self.spells.append(spell)
        try:
            yield
        finally:
            spell.ended = time.monotonic()


class Person:
    """Somebody at an address that nobody else has, who thinks before each request."""

    def __init__(self, world: World, pause_seconds: float = 0.0) -> None:
        self.number = next(_addresses)
        self.chance = world.chance
        address = ipaddress.IPv4Address("10.0.0.0") + self.number
        self.headers = {"x-forwarded-for": str(address)}
        self._world = world
        self._pause_seconds = pause_seconds

    async def ask(
        self,
        method: str,
        path: str,
        means: Collection[int] = (200,),
        *,
        is_owed: bool = False,
        **content: Any,
    ) -> httpx.Response | None:
        """Send a request and return the answer, if its status is one of those that *means* has.

        Args:
            method: as in the request.
            path: as in the request.
            means: the statuses that whoever asks knows what to do with.
            is_owed: what is asked was promised before the end, so it is asked for after it as well.
            content: httpx's: ``json``, ``data``, ``content``, ``headers``.

        Raises:
            OverError: the world is over.
        """
        if self._pause_seconds:
            await asyncio.sleep(self.chance.expovariate(1 / self._pause_seconds))
        if self._world.is_over and not is_owed:
            raise OverError
        what, began = f"{method} {path}", time.monotonic()
        headers = self.headers | content.pop("headers", {})
        try:
            answer = await self._world.client.request(method, path, headers=headers, **content)
        except httpx.HTTPError as error:
            named = f"{what}: {type(error).__name__}"
            self._world.tally.broken.append(Broken(named, began, time.monotonic()))
            return None
        calm = is_calm(self._world.spells, began, time.monotonic())
        self._world.tally.note(what, answer, means, is_calm=calm)
        if answer.status_code in means:
            return answer
        if answer.status_code in _REFUSED:
            told = answer.headers.get("retry-after", "")
            seconds = float(told) if told.isdecimal() else PATIENCE_SECONDS
            await asyncio.sleep(min(seconds, PATIENCE_SECONDS))
        return None


def client_of(url: str) -> httpx.AsyncClient:
    """Return what all people share: its connections serve whoever asks next."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    return httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)
