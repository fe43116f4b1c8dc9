"""What stores say is read from those that are there, and their counts never fall."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.stores.writer.sinks import Kept

from tonnage.db.pooling import counting as pools
from tonnage.db.pooling.counting import PoolStatistics
from tonnage.ops.figures.records import LONGEST_NAME_CHARS, MOST_STORES, StoreFigures
from tonnage.ops.figures.sources import read_all
from tonnage.ops.figures.stores import Stores
from tonnage.rates.table import RateTable
from tonnage.stores.cache import Cache
from tonnage.stores.heartbeats.heartbeats import Heartbeats
from tonnage.stores.redis.link import link
from tonnage.stores.writer.batchwriter import BatchWriter
from tonnage.web.path.ratelimit import RateLimiter
from tonnage.web.path.uploads.receiving import Uploads


def _said(kind: str, name: str) -> StoreFigures:
    """Return what the stores of this kind and name in this process say."""
    found = [each for each in Stores().look() if (each.kind, each.name) == (kind, name)]
    assert len(found) == 1
    return found[0]


def _hits(count: int, **now: float) -> StoreFigures:
    return StoreFigures("cache", "c", {"hits": count}, now)


def test_a_cache_says_what_it_holds_and_what_became_of_lookups() -> None:
    """Why entries went, too."""
    cache: Cache[str] = Cache("figures-cache", max_bytes="1M")
    cache.set("a", "1")
    assert cache.get("a") == "1"
    assert cache.get("b") is None
    cache.clear()

    said = _said("cache", "figures-cache")

    assert (said.counts["hits"], said.counts["misses"], said.counts["sets"]) == (1, 1, 1)
    assert said.counts["gone_cleared"] == 1
    assert said.now["entries"] == 0
    assert said.now["max_bytes"] == 2**20


def test_what_workers_share_is_said_beside_what_each_has() -> None:
    """It is one for all of them, and is not to be added up."""
    cache: Cache[str] = Cache("figures-shared", shared="1M", ttl=60)
    cache.set("a", "1")

    said = _said("shared_cache", "figures-shared")

    assert said.is_shared
    assert said.now["max_bytes"] == 2**20
    assert 0 < said.now["used_bytes"] <= 2**20
    assert _said("cache", "figures-shared").now["entries"] == 1


def test_a_writer_says_what_it_buffers_and_what_was_stored() -> None:
    """In the terms of the originals' pages: flushed, failed, dropped."""
    sink = Kept()
    sink.shut()
    writer = BatchWriter("figures-writer", sink, max_records=2)
    for number in range(3):
        writer.put({"number": number})

    said = _said("writer", "figures-writer")

    assert said.counts == {"added": 3, "flushed": 0, "failed": 0, "dropped": 1}
    assert said.now["buffered"] == 2
    assert said.now["failing"] == 0
    sink.open()


def test_all_other_kinds_are_read(tmp_path: Path) -> None:
    """Each by its own name."""
    before = sum(each.counts["received_files"] for each in read_all() if each.kind == "uploads")
    beats = Heartbeats(f"sqlite:///{tmp_path}/b.db", name="figures-beats")
    uploads = Uploads(directory=tmp_path, in_memory=True)
    limiter = RateLimiter("1/s", name="figures-limit", store=RateTable(keys=8))
    there = link("redis://:secret@127.0.0.1:1/0")

    assert _said("heartbeats", "figures-beats").counts == {"beats": 0, "ended": 0, "sweeps": 0}
    assert _said("uploads", "uploads").counts["received_files"] == before
    assert _said("rate_limit", "figures-limit").counts == {"refused": 0}
    assert _said("redis", str(there)).now["connected"] == 0
    assert not any("secret" in each.name for each in read_all())
    del beats, uploads, limiter


class Pool:
    """A pool of a database that tells how many connections it has."""

    name = "figures-pool"

    def statistics(self) -> PoolStatistics:
        """Return how it stands."""
        return PoolStatistics(self.name, "test", 5, 3, 1, 2, 0, 9, 6, 1, server_connections=40)


def test_connections_of_everybody_are_said_by_each_worker() -> None:
    """So they are not added up, while those of its own pool are."""
    pool = Pool()
    pools.enter(pool, "db.example/main")

    said, everybody = _said("pool", "figures-pool"), _said("connections", "db.example/main")

    assert said.counts == {"opened": 9, "closed": 6, "timed_out": 1}
    assert said.plus(said).now["open"] == 6
    assert everybody.plus(everybody).now == {"open": 40}


def test_one_that_begins_anew_goes_on_counting() -> None:
    """A cache that is made again has counted nothing yet."""
    said = [_hits(5, entries=3)]
    stores = Stores(lambda: iter(said))
    stores.look()

    said[:] = [_hits(2, entries=1)]
    assert stores.look() == [_hits(5, entries=1)]
    said[:] = [_hits(4, entries=1)]
    assert stores.look() == [_hits(7, entries=1)]


def test_of_one_that_is_gone_its_counts_stay() -> None:
    """It holds nothing; should it come again, it goes on."""
    said = [_hits(5, entries=3)]
    stores = Stores(lambda: iter(said))
    stores.look()

    said[:] = []
    assert stores.look() == [_hits(5)]
    assert stores.look() == [_hits(5)]
    said[:] = [_hits(1)]
    assert stores.look() == [_hits(6)]


def test_two_of_one_name_are_one() -> None:
    """And if one of them goes, nothing of what it had counted does."""
    said = [_hits(5, entries=3), _hits(7, entries=1)]
    stores = Stores(lambda: iter(said))
    assert stores.look() == [_hits(12, entries=4)]

    said[:] = [_hits(8, entries=1)]

    assert stores.look() == [_hits(12, entries=1)]


def test_there_are_so_many_at_most() -> None:
    """An application that makes caches for each user has more."""
    said = [StoreFigures("cache", str(number)) for number in range(MOST_STORES + 9)]
    stores = Stores(lambda: iter(said))

    assert len(stores.look()) == MOST_STORES
    del said[:9]
    assert len(stores.look()) == MOST_STORES


def test_a_long_name_is_cut() -> None:
    """It may be made of anything."""
    (said,) = Stores(lambda: iter([StoreFigures("cache", "x" * 999)])).look()
    assert said.name == "x" * LONGEST_NAME_CHARS


def test_one_that_cannot_say_does_not_keep_others_from_it() -> None:
    """A look at figures is no reason for a worker to end."""

    class Broken(Pool):
        def statistics(self) -> PoolStatistics:
            raise RuntimeError("closed")

    broken, cache = Broken(), Cache[str]("figures-other", max_bytes="1M")
    pools.enter(broken, "")
    kinds = {each.kind for each in read_all()}

    assert "cache" in kinds
    assert "pool" not in kinds
    del broken, cache


def test_nothing_is_imported_to_be_counted() -> None:
    """What an application does not use costs its workers nothing."""
    code = (
        "import sys; from tonnage.ops.figures.stores import Stores; before = set(sys.modules);"
        "assert Stores().look() == []; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )

    assert done.stdout.split() == []
