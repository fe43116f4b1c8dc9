"""Which entries of a cache stay."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tonnage.stores.s3fifo import MOST_USES, S3Fifo
from tonnage.units import MIB


@dataclass(slots=True)
class Entry:
    """An entry of so much weight."""

    weight: int = 1
    uses: int = 0


class Shelf:
    """A queue that is kept within its bound, and counts hits."""

    def __init__(self, max_weight: int) -> None:
        self.queue: S3Fifo[Entry] = S3Fifo(max_weight)
        self.hits = self.asked = 0

    def ask(self, key: object, weight: int = 1) -> None:
        """Look *key* up, and put it in if it is missing."""
        self.asked += 1
        if self.queue.find(key):
            self.hits += 1
            return
        self.queue.put(key, Entry(weight))
        while self.queue.weight > self.queue.max_weight:
            self.queue.evict()

    @property
    def held(self) -> set[object]:
        """The keys that are there."""
        return {key for key, _ in self.queue.items()}


def popular(count: int, keys: int, seed: int) -> Iterator[int]:
    """Yield keys of which few are asked for often (Zipf, exponent 0.99)."""
    weights = [1 / (at + 1) ** 0.99 for at in range(keys)]
    yield from random.Random(seed).choices(range(keys), weights, k=count)


def test_a_scan_passes_through() -> None:
    """What is asked for once pushes nothing out that is asked for again and again."""
    shelf = Shelf(100)
    for _ in range(5):
        for key in range(50):
            shelf.ask(key)
    for key in range(1000, 5000):
        shelf.ask(key)

    assert {*range(50)} <= shelf.held
    assert shelf.queue.count == 100


def test_who_comes_back_after_it_has_left_stays() -> None:
    """It is remembered for a while, and goes to the main queue."""
    shelf = Shelf(100)
    for key in range(101):
        shelf.ask(key)
    assert 0 not in shelf.held
    for key in [0, *range(1000, 1200), 0, *range(2000, 2200), 0]:
        shelf.ask(key)
    before = shelf.hits
    for key in [*range(3000, 3500), 0]:
        shelf.ask(key)

    assert shelf.hits == before + 1


def test_many_light_entries_are_worth_more_than_a_heavy_one() -> None:
    """One that weighs as fifty needs more uses to be let in."""
    shelf = Shelf(100)
    for _ in range(4):
        for key in range(50):
            shelf.ask(key)
    shelf.ask("heavy", 50)
    shelf.ask("heavy", 50)
    for key in range(1000, 1100):
        shelf.ask(key)

    assert "heavy" not in shelf.held
    assert {*range(50)} <= shelf.held


def test_it_has_more_hits_than_the_least_recently_used() -> None:
    """With scans in between, on values of one size and of many."""
    rng = random.Random(7)
    sizes = {key: int(min(2.0**18, max(64.0, rng.lognormvariate(8, 1.6)))) for key in range(20_000)}
    for bound, weigh in ((200, dict.fromkeys(sizes, 1)), (4 * MIB, sizes)):
        shelf, recent, lru_hits, held = Shelf(bound), OrderedDict[int, int](), 0, 0
        for at, key in enumerate(popular(60_000, 15_000, seed=3)):
            asked = [key] if at % 5000 else [key, *range(15_000, 16_000)]
            for each in asked:
                weight = weigh[each]
                shelf.ask(each, weight)
                if each in recent:
                    recent.move_to_end(each)
                    lru_hits += 1
                    continue
                recent[each] = weight
                held += weight
                while held > bound:
                    held -= recent.popitem(last=False)[1]

        assert shelf.hits > 1.1 * lru_hits


def test_what_it_weighs_is_the_sum() -> None:
    """Whatever is put in, replaced and taken out."""
    rng, shelf = random.Random(1), Shelf(500)
    for _ in range(20_000):
        key, what = rng.randrange(200), rng.random()
        if what < 0.1:
            shelf.queue.pop(key)
        elif what < 0.2:
            shelf.queue.put(key, Entry(rng.randrange(1, 40)))
            while shelf.queue.weight > 500:
                shelf.queue.evict()
        else:
            shelf.ask(key, rng.randrange(1, 40))
        assert shelf.queue.weight <= 500
    entries = [entry for _, entry in shelf.queue.items()]
    assert shelf.queue.weight == sum(entry.weight for entry in entries)
    assert shelf.queue.count == len(entries)
    assert all(0 <= entry.uses <= MOST_USES for entry in entries)

    while shelf.queue.count:
        shelf.queue.evict()
    assert shelf.queue.weight == 0
    with pytest.raises(KeyError):
        shelf.queue.evict()
