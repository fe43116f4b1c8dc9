"""Who holds what of the memory in use: the parts add up to it, and none is less than nothing."""

from __future__ import annotations

import pytest

from tonnage.governor.books import PARTS, balanced, measured
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import NANOSECONDS, Statistics, WorkerState, read_statistics
from tonnage.units import MIB

NOW = 1_000 * NANOSECONDS


def statistics(*, used: int, pss: int, held: int, jobs: int = 0) -> Statistics:
    """Return those of a server with one worker; in MB, 10 the supervisor's, 20 the zygote's."""
    page = SharedPage(2)
    header, slot = page.header, page.slots[0]
    header.limit_bytes, header.used_bytes = 256 * MIB, used * MIB
    header.supervisor_pss_bytes, header.zygote_pss_bytes = 10 * MIB, 20 * MIB
    header.jobs_held_bytes = jobs * MIB
    slot.pid, slot.state = 100, WorkerState.READY
    slot.pss_bytes, slot.held_bytes = pss * MIB, held * MIB
    header.workers_own_bytes = max(0, held * MIB)
    return read_statistics(page, NOW)


def in_whole_mb(books: dict[str, int]) -> dict[str, int]:
    """Return *books* in MB."""
    return {name: round(size / MIB) for name, size in books.items()}


def test_what_nobody_explains_is_the_rest() -> None:
    """Then both say the same."""
    now = statistics(used=100, pss=40, held=15, jobs=5)

    assert in_whole_mb(balanced(now)) == {
        "supervisor": 10,
        "zygote": 20,
        "workers_shared": 25,
        "workers_own": 15,
        "jobs": 5,
        "unexplained": 25,
    }
    assert balanced(now) == measured(now)


def test_shares_that_are_older_than_the_use_give_way() -> None:
    """In proportion; what is known of this moment stays as it is."""
    now = statistics(used=100, pss=120, held=70)

    found = in_whole_mb(balanced(now))

    assert measured(now)["unexplained"] == -50 * MIB
    assert found["workers_own"] == 70
    assert [found[name] for name in ("supervisor", "zygote", "workers_shared")] == [4, 8, 19]
    assert found["unexplained"] == 0


@pytest.mark.parametrize("held", [-3, 0, 60, 99, 100, 300])
@pytest.mark.parametrize("used", [0, 1, 100])
def test_they_always_add_up(used: int, held: int) -> None:
    """To the byte, whatever was measured when."""
    now = statistics(used=used, pss=50, held=held, jobs=7)

    for books in (balanced(now), measured(now)):
        assert tuple(books) == PARTS
        assert sum(books.values()) == used * MIB
    assert min(balanced(now).values()) >= 0
