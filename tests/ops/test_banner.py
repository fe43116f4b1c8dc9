"""The banner, as it is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tonnage.ops.banner import BannerFacts, render_banner
from tonnage.settings import RecyclingSettings
from tonnage.units import MIB

FACTS = BannerFacts(
    version="0.1.0",
    used_bytes=85 * MIB,
    used_how="cgroup working set",
    limit_text="512 MB: cgroup v2 memory.max of /app; host has 16 GB",
    workers=2,
    threads=40,
    cpus=2.0,
    preload_text="imported once in 0.3 s",
    zygote_bytes=41 * MIB,
    urls=(("app", "http://127.0.0.1:8000"), ("health", "http://127.0.0.1:8000/health")),
    marks=(410 * MIB, 461 * MIB, 496 * MIB, 470 * MIB),
    allocator="huge",
    queue_requests=128,
    wakeups=("cgroup v2 memory.events", "memory.pressure of /app"),
    fuse=True,
    worker_memory_bytes=None,
    recycling=RecyclingSettings(
        recycle=True,
        recycle_above_bytes=None,
        max_requests=0,
        max_lifetime_seconds=0.0,
    ),
    alerts_to="https://hooks.slack.com",
    alert_seconds=300.0,
    reports_in="/run/user/7/tonnage/127.0.0.1-8000.reports",
    reports_kept=20,
)

BANNER = """\
Tonnage 0.1.0 · 85 MB used of 512 MB: cgroup v2 memory.max of /app; host has 16 GB
  app        http://127.0.0.1:8000
  health     http://127.0.0.1:8000/health
  workers    2, clustering on · 40 threads each · 2 CPUs
  preload    imported once in 0.3 s · 41 MB shared
  memory     measured: cgroup working set · allocator: huge
  WARNING    from 410 MB: memory is reclaimed
  CRITICAL   from 461 MB: caches are emptied, garbage is collected, an alert is sent
  EXHAUSTED  from 496 MB: no new request is let in, health still answers
  ceiling    470 MB in use or promised: above it new requests wait
  queue      128 requests may wait, further ones get 503
  wake-ups   cgroup v2 memory.events, memory.pressure of /app
  fuse       on: an allocation that does not fit fails in its own request
  recycling  on, for memory that stays or leaks
  alerts     https://hooks.slack.com, of each kind every 300 s at most
  reports    /run/user/7/tonnage/127.0.0.1-8000.reports, the newest 20"""


def test_banner_says_use_limit_clustering_and_each_mark() -> None:
    """The whole text, since it is the first thing that everybody reads."""
    assert render_banner(FACTS) == BANNER


def test_banner_of_one_worker_without_preload() -> None:
    """Clustering off is said, and nothing is shared."""
    lines = render_banner(
        replace(
            FACTS,
            workers=1,
            threads=1,
            cpus=0.5,
            preload_text="off (--no-preload)",
            zygote_bytes=0,
        )
    ).splitlines()

    assert "  workers    1, clustering off · 1 thread each · 0.5 CPUs" in lines
    assert "  preload    off (--no-preload)" in lines


def test_banner_says_what_is_not_active_and_what_to_change() -> None:
    """Notes and warnings end it, a line each."""
    lines = render_banner(
        replace(
            FACTS,
            cpus=1,
            wakeups=(),
            notes=("cgroup v1 threshold at 410 MB: Read-only file system",),
            warnings=("room for requests is scarce",),
        )
    ).splitlines()

    assert "  wake-ups   none: memory is looked at in intervals only" in lines
    assert lines[-2:] == [
        "  note       cgroup v1 threshold at 410 MB: Read-only file system",
        "  warning    room for requests is scarce",
    ]
    assert "1 CPU" in lines[3]


def test_banner_says_which_measures_are_set() -> None:
    """Fuse, recycling with each of its bounds, and where people are told."""
    lines = render_banner(
        replace(
            FACTS,
            worker_memory_bytes=200 * MIB,
            recycling=replace(
                FACTS.recycling,
                recycle_above_bytes=150 * MIB,
                max_requests=10_000,
                max_lifetime_seconds=43_200.0,
            ),
        )
    ).splitlines()

    assert lines[-4].endswith("fails in its own request · 200 MB a worker at most")
    assert lines[-3] == (
        "  recycling  on, for memory that stays or leaks · above 150 MB · after 10000 requests"
        " · after 43200 s"
    )


def test_banner_says_which_measures_are_off() -> None:
    """And promises no alert where there is nobody to tell."""
    banner = render_banner(
        replace(
            FACTS,
            fuse=False,
            recycling=replace(FACTS.recycling, recycle=False, max_requests=10),
            alerts_to=None,
            reports_in=None,
        )
    )

    assert banner.splitlines()[-4:] == [
        "  fuse       off: an allocation that does not fit is left to the brake",
        "  recycling  off for memory · after 10 requests",
        "  alerts     none, without TONNAGE_ALERT_URL",
        "  reports    go to the log",
    ]
    assert "alert is sent" not in banner


@pytest.mark.parametrize("label", ["app", "a longer label"])
def test_banner_is_aligned_whatever_the_labels(label: str) -> None:
    """Every text begins in the same column."""
    banner = render_banner(replace(FACTS, urls=((label, "http://x"),)))

    at = banner.index("http://x") - banner.index(f"  {label}")
    rows = banner.splitlines()[1:]
    assert all(row[at - 1] == " " and row[at] != " " for row in rows)
    assert len(rows) < 18
