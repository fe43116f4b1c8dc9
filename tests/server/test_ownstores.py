"""What a worker has the application's stores do while it is idle."""

from __future__ import annotations

import time

import pytest
from tests.support.forking import fork, status_of

from tonnage import Cache
from tonnage.host import commons
from tonnage.server.ownstores import OwnStores
from tonnage.stores import bulletin
from tonnage.stores.security.events import RING_BYTES
from tonnage.stores.security.monitor import SecurityMonitor


@pytest.mark.usefixtures("own_commons")
def test_beats_erase_security_events_that_are_too_old() -> None:
    """Once a minute, though nothing else is noted."""
    stores = OwnStores(0.0)
    past = SecurityMonitor(keep_seconds=1, wall_clock=lambda: time.time() - 10)
    past.attempt("203.0.113.7", user="ann", succeeded=False)

    def is_there() -> bool:
        return b"203.0.113.7" in bytes(commons.share("security events", RING_BYTES).bytes)

    assert is_there()
    stores.beat(60.0)
    assert not is_there()
    past.attempt("203.0.113.7", user="ann", succeeded=False)
    stores.beat(119.0)
    assert is_there()
    stores.beat(120.0)
    assert not is_there()


def test_a_beat_obeys_what_other_workers_say_to_caches() -> None:
    """An idle worker looks nothing up, and is to give the memory back."""
    cache: Cache[str] = Cache("beaten", redis=False)
    cache.set("a", "x")
    assert status_of(fork(lambda: bulletin.clear("beaten"))) == 0
    assert cache.used_bytes > 0
    OwnStores(0.0).beat(0.1)
    assert cache.used_bytes == 0
