"""How many connections there are: of pools that are none."""

from __future__ import annotations

import gc

from tonnage.db.pooling.counting import PoolStatistics, db_connections, enter, statistics


class Counted:
    """A pool that is none."""

    def __init__(self, name: str, open_now: int, server: int | None = None) -> None:
        self.name = name
        self._found = PoolStatistics(
            name, "test", 5, open_now, 1, open_now - 1, 0, open_now, 0, 0, server
        )

    def statistics(self) -> PoolStatistics:
        """How it stands."""
        return self._found


def _before() -> tuple[set[str], int]:
    gc.collect()
    return set(statistics()), db_connections()


def test_shows_each_pool_by_its_name_as_long_as_it_lives() -> None:
    """Shows each pool by its name as long as it lives."""
    before, _ = _before()
    one, other = Counted("counting", 2), Counted("counting", 3)
    enter(one, "one")
    enter(other, "other")
    enter(one, "one")
    found = statistics()
    assert set(found) - before == {"counting", "counting-2"}
    assert {found["counting"].open, found["counting-2"].open} == {2, 3}
    del one, other
    gc.collect()
    assert set(statistics()) == before


def test_a_servers_own_count_counts_once_for_all_its_pools() -> None:
    """A server's own count counts once for all its pools."""
    _, before = _before()
    pools = [
        Counted("a", 2, server=17),
        Counted("b", 3, server=18),
        Counted("c", 1, server=4),
        Counted("d", 5),
    ]
    for pool, server in zip(pools, ("test://x", "test://x", "test://y", "test://z"), strict=True):
        enter(pool, server)
    assert db_connections() - before == 18 + 4 + 5
