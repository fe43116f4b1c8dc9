"""The promises at full length: a real 512 MB cgroup, 128 clients, from one cold start. Minutes.

``make soak`` runs these; ``make test`` runs short forms of each.
"""

from __future__ import annotations

import argparse

import pytest
from benchmarks import burst, leak, mix, recovery, recycle
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


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("way", burst.WAYS)
def test_a_burst_each_second_for_a_minute(way: str, workers: int) -> None:
    """Only the guilty requests fail, and every report names their route."""
    if way == "numpy":
        pytest.importorskip("numpy")
    done = burst.measure(PEERS["tonnage-workers"], way, workers, _chosen(seconds=60, clients=50))

    assert (done.kernel_kills, done.broken, done.refused, done.other) == (0, 0, 0, 0)
    assert done.health_share == 1.0
    assert done.peak_bytes < 512 * MIB
    assert done.guilty.keys().isdisjoint({"200"} if way != "fork" else ())
    assert done.reports
    assert not done.unexplained


@pytest.mark.parametrize("workers", [1, 2])
def test_a_leak_for_ten_minutes(workers: int) -> None:
    """A saw-tooth under the limit, no request failed, and what a request leaks is known."""
    chosen = _chosen(seconds=600, clients=30, workers=workers, rate=300, kb=64)
    done = leak.measure(PEERS["tonnage-workers"], chosen)

    assert (done.kernel_kills, done.broken, done.refused, done.other) == (0, 0, 0, 0)
    assert done.ok > 600 * 300 * 0.9
    assert done.peak_bytes < 512 * MIB
    assert done.teeth >= 10
    assert done.reported
    for reported in done.reported:
        assert reported["bytes_per_request"] == pytest.approx(65536, rel=0.2)


def test_workers_replaced_for_two_minutes() -> None:
    """Every three seconds or so, at 500/s; the application's import takes three."""
    chosen = _chosen(seconds=120, clients=50, workers=2, rate=500, requests=1500)
    done = recycle.measure(PEERS["tonnage-workers"], chosen)

    assert (done.kernel_kills, done.broken, done.refused, done.other) == (0, 0, 0, 0)
    assert done.replaced >= 20
    assert max(done.ready_seconds) <= 0.15


def _chosen(**options: float) -> argparse.Namespace:
    need_cgroup()
    pytest.importorskip("fastapi")
    return argparse.Namespace(limit=512 * MIB, **options)
