"""Which entries of a cache stay."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator

import pytest
from tests.support.entries import entry_of

from tonnage.stores.s3fifo import S3Fifo
from tonnage.units import MIB


class Shelf:
    """A queue that is kept within its bound, and counts hits."""

    def __init__(self, max_weight: int) -> None:
        self.max_weight = max_weight
        self.queues = S3Fifo()
        self.hits = 0

    def ask(self, key: object, weight: int = 1) -> None:
        """Look *key* up, and put it in if it is missing."""
        found = self.queues.entries.get(key)
        if found:
            found.uses += 1
            self.hits += 1
            return
        self.queues.put(entry_of(key, weight))
        self.make_room()

    def make_room(self) -> None:
        """Come back within the bound."""
        while self.queues.weight > self.max_weight:
            self.queues.evict()

    @property
    def held(self) -> set[object]:
        """The keys that are there."""
        return set(self.queues.entries)


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
    assert len(shelf.held) == 100


def test_who_comes_back_after_it_has_left_stays() -> None:
    """It is remembered for a while, and goes to the main queue."""
    shelf = Shelf(100)
    back = [f"back {at}" for at in range(20)]
    scanned = iter(range(10_000))
    for _ in range(4):
        for key in back:
            shelf.ask(key)
        for _ in range(120):
            shelf.ask(next(scanned))
    assert shelf.hits < 20, "they had left each time"
    for _ in range(500):
        shelf.ask(next(scanned))

    # Some were forgotten: their places were taken.
    assert len(shelf.held.intersection(back)) > 10


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
    """Whatever is put in, weighed anew and taken out."""
    rng, shelf = random.Random(1), Shelf(500)
    queues = shelf.queues
    for _ in range(20_000):
        key, what = rng.randrange(200), rng.random()
        there = queues.entries.get(key)
        if what < 0.1 and there:
            queues.remove(there)
        elif what < 0.2 and there:
            queues.reweigh(there, rng.randrange(1, 40))
            shelf.make_room()
        else:
            shelf.ask(key, rng.randrange(1, 40))
        assert queues.weight == sum(each.weight for each in queues.entries.values()) <= 500
        small = (each.weight for each in queues._small if each.place)
        assert queues._small_weight == sum(small)
        both = (*queues._small, *queues._main)
        assert queues._holes == sum(not each.place for each in both)

    while queues.entries:
        queues.evict()
    assert queues.weight == 0
    with pytest.raises(IndexError):
        queues.evict()


@pytest.mark.parametrize("most", [10, 100])
def test_what_was_cleared_begins_anew(most: int) -> None:
    """Nobody is there, nobody is remembered, and it takes as many as before."""
    shelf = Shelf(most)
    for _ in range(2):
        for key in range(300):
            shelf.ask(key)
        assert len(shelf.held) == most
        shelf.queues.clear()
        assert (shelf.held, shelf.queues.weight, any(shelf.queues._left)) == (set(), 0, False)
    assert shelf.hits == 0


def test_who_was_taken_out_leaves_nothing() -> None:
    """Neither its value, nor a hole for ever: what is invalidated again and again never has its
    turn to be evicted."""
    queues = S3Fifo()
    for at in range(1000):
        entry = entry_of(at % 10, 1)
        queues.put(entry)
        queues.remove(entry)
        assert not hasattr(entry, "value")

    assert len(queues._small) + len(queues._main) < 100
    assert not queues.entries


def test_who_was_taken_out_and_comes_again_stands_at_the_end() -> None:
    """Its hole does not stand for it."""
    shelf = Shelf(10)
    for key in range(10):
        shelf.ask(key)
    shelf.queues.remove(shelf.queues.entries[0])
    shelf.ask(0)
    shelf.ask("new")

    assert 0 in shelf.held
    assert 1 not in shelf.held
