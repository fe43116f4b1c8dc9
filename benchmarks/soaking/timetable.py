"""When what goes wrong: a timetable from a seed, so that two runs suffer the same; and when it did.

Faults come one at a time, so that whatever breaks has one suspect. Pure: what a fault does is in
:mod:`benchmarks.soaking.faults`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

CALM_SECONDS = 30.0
"""Without faults, at the beginning and at the end; less where the whole is short."""

CALM_SHARE = 0.1

SETTLE_SECONDS = 5.0
"""How long after its end a fault may be felt: connections are made anew, memory is given back."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong, *at_seconds* from the beginning, for *seconds*."""

    kind: str
    at_seconds: float
    seconds: float


@dataclass(slots=True)
class Spell:
    """A fault as it was, by the monotonic clock; it lasts until ``ended`` is set."""

    kind: str
    began: float
    ended: float = math.inf


def is_calm(spells: Iterable[Spell], began: float, ended: float) -> bool:
    """Return whether from *began* to *ended* none of *spells* was to be felt."""
    return all(ended < spell.began or spell.ended + SETTLE_SECONDS < began for spell in spells)


def timetable(
    kinds: Sequence[str], *, seconds: float, every_seconds: float, seed: int
) -> list[Fault]:
    """Return the faults of *seconds*: one in each *every_seconds*, at a moment drawn from *seed*.

    Each of *kinds* comes once, in some order, before any comes again. A fault lasts at most half of
    *every_seconds*, and ends before the next begins.
    """
    chance = random.Random(seed)
    calm_seconds = min(CALM_SECONDS, CALM_SHARE * seconds)
    drawn = _in_rounds(kinds, chance)
    return [
        Fault(
            kind=next(drawn),
            at_seconds=calm_seconds + (turn + chance.uniform(0.0, 0.4)) * every_seconds,
            seconds=chance.uniform(0.3, 0.5) * every_seconds,
        )
        for turn in range(int((seconds - 2 * calm_seconds) / every_seconds))
    ]


def _in_rounds(kinds: Sequence[str], chance: random.Random) -> Iterator[str]:
    while True:
        yield from chance.sample(kinds, len(kinds))
