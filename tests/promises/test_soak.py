"""The promises at full length: a real 512 MB cgroup, 128 clients, from one cold start. Minutes.

``make soak`` runs these; ``make test`` runs short forms of each.
"""

from __future__ import annotations

import pytest
from benchmarks import mix, recovery
from benchmarks.load import Kind
from benchmarks.peers import PEERS
from benchmarks.record import quantile
from benchmarks.storm import Storm, storm
from tests.support.cgroup import need_cgroup

from tonnage.units import MIB

pytestmark = [pytest.mark.soak, pytest.mark.real]


def weather(kinds: list[Kind], *, seconds: float) -> Storm:
    """Run `tonnage run` under the load of *kinds* and check what holds for any load."""
    need_cgroup()
    done = storm(PEERS["tonnage"], kinds, limit_bytes=512 * MIB, clients=128, seconds=seconds)

    assert done.kernel_kills == 0
    assert done.total(lambda tally: tally.broken) == 0
    assert done.health.share == 1.0
    assert done.alive
    return done


def test_an_overload_of_two_minutes() -> None:
    """Each request holds 8 MB for 300 ms; health answers within half a second."""
    done = weather([recovery.KIND], seconds=120)

    assert done.total(lambda tally: tally.refused) == 0
    assert quantile(done.health.latencies_seconds, 0.99) <= 0.5


def test_a_mix_of_two_minutes() -> None:
    """Trivial requests are never refused and pass those that wait for memory."""
    done = weather(mix.KINDS, seconds=120)

    trivial = done.tallies["trivial"]
    assert trivial.refused == 0
    assert quantile(trivial.latencies_seconds, 0.99) <= 0.3
