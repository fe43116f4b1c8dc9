"""What a cache really takes of its process's memory, against its bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tonnage.host.malloc import allocator_environment, allocator_kind

# Fills a cache of 32 MB and goes on, so that most of what it has had was evicted. Trimmed, as a
# worker's heap is whenever it is idle: holes are the allocator's, and it gives those back.
STORY = """
import gc, json, random, sys
from pathlib import Path
from tonnage import Cache
from tonnage.host.malloc import Heap

def anonymous_bytes():
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024

rng, heap = random.Random(1), Heap()
bound = 32 << 20
of_all_sizes = lambda: int(min(262144, max(64, rng.lognormvariate(8, 1.6))))
draw = {"small": lambda: 60, "equal": lambda: 1024, "mixed": of_all_sizes}[sys.argv[1]]
cache = Cache("measured", max_bytes=bound, ttl=300)
heap.trim()
before, offered = anonymous_bytes(), 0
while offered < 3 * bound:
    size = draw()
    cache.set(f"key:{offered}", bytes(size))
    offered += size + 400
churning = anonymous_bytes() - before
heap.trim()
print(json.dumps([churning / bound, (anonymous_bytes() - before) / bound]))
"""


@pytest.mark.real
@pytest.mark.skipif(allocator_kind() == "none", reason="needs Linux and glibc")
@pytest.mark.parametrize("values", ["small", "equal", "mixed"])
def test_the_bound_holds_in_real_memory(values: str) -> None:
    """Within 5 %, whatever the values, and without giving much of it away."""
    churning, trimmed = json.loads(
        subprocess.run(
            [sys.executable, "-c", STORY, values],
            capture_output=True,
            check=True,
            timeout=60,
            env=os.environ | allocator_environment("auto", {}),
        ).stdout
    )

    assert 0.75 < trimmed < 1.05
    assert churning < 1.25
