"""What a worker reads of its own memory, from a real heap in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from tonnage.host.malloc import allocator_environment
from tonnage.units import MIB

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's"
)

# As an application holds rows: many small blocks, between those of others that stay.
_STORY = """
import json, time
from tonnage.governor.page import SharedPage
from tonnage.host.malloc import Heap
from tonnage.server.ownmemory import OwnMemory
from tonnage.host.stacks import Stacks

heap = Heap()
memory = OwnMemory(SharedPage().slots[0], heap, Stacks())
rows = lambda: [bytes(1000) for _ in range(20_000)]
found = {}

def note(name):
    time.sleep(0.3)  # it counts as often as it may
    found[name] = memory.data_in_use()

held = [rows() for _ in range(6)]
note("six requests")
del held[:5]
note("one left")
heap.trim()
note("trimmed")
held.append(rows())
note("one more")
print(json.dumps(found))
"""


def test_what_is_put_where_a_trim_has_made_room_is_growth() -> None:
    """Else a request costs nothing after each reclaim, and too many are let in."""
    environment = os.environ | allocator_environment("auto", os.environ)
    done = subprocess.run(
        [sys.executable, "-c", _STORY], capture_output=True, text=True, check=True, env=environment
    )
    found = {name: size / MIB for name, size in json.loads(done.stdout).items()}

    one = (found["six requests"] - found["one left"]) / 5
    assert one == pytest.approx(20, abs=3)
    assert found["trimmed"] == pytest.approx(found["one left"], abs=3)
    assert found["one more"] - found["trimmed"] == pytest.approx(one, abs=3)
