"""Who was asked for longest ago leaves first."""

from __future__ import annotations

import pytest
from tests.support.entries import entry_of

from tonnage import Cache
from tonnage.errors import ConfigError
from tonnage.stores.lru import Lru


def test_who_was_asked_for_longest_ago_leaves_first() -> None:
    """To be looked at is not to be asked for; to be weighed anew is as good."""
    recent = Lru()
    for key in "abcd":
        recent.put(entry_of(key))
    _ = recent.entries["a"]
    assert recent.entries.get("b")
    recent.reweigh(recent.entries.get("c") or entry_of("c"), 5)

    assert recent.weight == 8
    assert [recent.evict().key for _ in range(4)] == ["b", "d", "a", "c"]
    assert recent.weight == 0
    with pytest.raises(IndexError):
        recent.evict()


def test_what_is_taken_out_weighs_nothing() -> None:
    """One by one, or all at once."""
    recent = Lru()
    for key in "abc":
        recent.put(entry_of(key, 7))
    recent.remove(recent.entries["b"])
    assert (recent.weight, list(recent.entries)) == (14, ["a", "c"])
    recent.clear()
    assert (recent.weight, len(recent.entries)) == (0, 0)
    with pytest.raises(KeyError):
        _ = recent.entries["a"]


def test_a_cache_may_keep_what_was_asked_for_last() -> None:
    """Then a scan pushes everything out, which the other policy does not let it."""
    found: dict[str, int] = {}
    for policy in ("lru", "s3fifo"):
        cache: Cache[int] = Cache("test", max_entries=100, ttl=None, policy=policy)
        for _ in range(5):
            for key in range(50):
                if cache.get(key) is None:
                    cache.set(key, key)
        for key in range(1000, 2000):
            cache.set(key, key)
        found[policy] = sum(key in cache for key in range(50))

    assert found == {"lru": 0, "s3fifo": 50}


def test_another_policy_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match="s3fifo, lru"):
        Cache("test", policy="fifo")
