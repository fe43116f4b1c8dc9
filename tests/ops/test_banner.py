"""The banner, as it is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tonnage.ops.banner import BannerFacts, render_banner
from tonnage.units import MIB

FACTS = BannerFacts(
    version="0.1.0",
    used_bytes=85 * MIB,
    used_how="cgroup working set",
    limit_text="512 MB: cgroup v2 memory.max of /app; host has 16 GB",
    workers=2,
    threads=40,
    cpus=2.0,
    clustering=True,
    preload_text="imported once in 0.3 s",
    zygote_bytes=41 * MIB,
    urls=(("app", "http://127.0.0.1:8000"), ("health", "http://127.0.0.1:8000/health")),
    marks=(410 * MIB, 461 * MIB, 496 * MIB, 470 * MIB),
    allocator="huge",
    queue_requests=128,
    wakeups=("cgroup v2 memory.events", "memory.pressure of /app"),
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
  wake-ups   cgroup v2 memory.events, memory.pressure of /app"""


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
            clustering=False,
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

    assert lines[-3:] == [
        "  wake-ups   none: memory is looked at in intervals only",
        "  note       cgroup v1 threshold at 410 MB: Read-only file system",
        "  warning    room for requests is scarce",
    ]
    assert "1 CPU" in lines[3]


@pytest.mark.parametrize("label", ["app", "a longer label"])
def test_banner_is_aligned_whatever_the_labels(label: str) -> None:
    """Every text begins in the same column."""
    banner = render_banner(replace(FACTS, urls=((label, "http://x"),)))

    at = banner.index("http://x") - banner.index(f"  {label}")
    rows = banner.splitlines()[1:]
    assert all(row[at - 1] == " " and row[at] != " " for row in rows)
    assert len(rows) < 16
