"""Limits, meters and counters under a real kernel's limit, in a child cgroup of a few MB."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup

from tonnage.host.counters import MeterError
from tonnage.host.processes import read_rollup
from tonnage.host.usage import CgroupMeter, TreeMeter
from tonnage.units import MIB

pytestmark = pytest.mark.cgroup2

FIND = """
from tonnage.host.limits import discover_limit
limit = discover_limit()
note(bytes=limit.bytes, kind=limit.kind, own=str(limit.own_cgroup.path), text=limit.describe())
"""

PRELUDE = """
import json, os, sys
def note(**facts):
    print(json.dumps(facts), flush=True)
"""

# A meter reads memory.stat anew when it is made, so each step makes its own: no waiting.
GROW = """
from tonnage.host.limits import discover_limit
from tonnage.host.usage import meter_for
def measure(step):
    meter = meter_for(discover_limit(), lambda: [os.getpid()])
    reading = meter.read()
    meter.close()
    note(step=step, used=reading.used_bytes, raw=reading.raw_bytes, how=reading.how)

def read_file():
    with open(sys.argv[1], "rb", buffering=0) as file:
        while file.read(2**16):
            pass

measure("start")
held = b"x" * (30 * 2**20)
measure("held")
with open(sys.argv[1], "wb") as file:
    for _ in range(20):
        file.write(bytes(2**20))
    os.fsync(file.fileno())
read_file()
read_file()
measure("read twice")
del held
measure("freed")
"""

# 20 MB made before the fork are shared after it; both processes live until their input ends.
FORK = """
held = b"x" * (20 * 2**20)
child = os.fork()
if child:
    note(pids=[os.getpid(), child])
sys.stdin.read()
"""


@pytest.fixture
def box() -> Iterator[MemoryBox]:
    """Yield a real cgroup of 96 MB."""
    need_cgroup()
    with MemoryBox(96 * MIB) as box:
        yield box


def run(box: MemoryBox, code: str, *arguments: object) -> list[dict[str, Any]]:
    """Run *code* in the box and return what it noted."""
    printed = subprocess.check_output(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        preexec_fn=box.enter,
        text=True,
    )
    return [json.loads(line) for line in printed.splitlines()]


def test_real_cgroup_limit_is_found_from_inside(box: MemoryBox) -> None:
    """A process that knows nothing of the box finds its limit, its name and its directory."""
    (found,) = run(box, FIND)

    version, file = box.cgroup.version, box.cgroup.limit_path.name
    assert (found["bytes"], found["kind"]) == (96 * MIB, "cgroup")
    assert found["own"] == str(box.path)
    assert found["text"].startswith(f"96 MB: cgroup v{version} {file} of {box.cgroup.name}; host")


def test_real_cgroup_limit_can_change(box: MemoryBox) -> None:
    """The next look finds the new figure, be it lower or higher."""
    box.set_limit(64 * MIB)
    (lower,) = run(box, FIND)
    box.set_limit(128 * MIB)
    (higher,) = run(box, FIND)

    assert (lower["bytes"], higher["bytes"]) == (64 * MIB, 128 * MIB)


def test_real_v2_throttling_counts_as_a_limit(box: MemoryBox) -> None:
    """Above ``memory.high`` the kernel slows every allocation down: nobody can serve from there."""
    if box.cgroup.high_path is None:
        pytest.skip("the memory controller of this machine is on version 1")
    box.cgroup.high_path.write_text(str(48 * MIB))
    (found,) = run(box, FIND)

    assert (found["bytes"], found["kind"]) == (48 * MIB, "cgroup")
    assert "cgroup v2 memory.high" in found["text"]


def test_real_cgroup_usage_follows_memory_and_not_file_cache(
    box: MemoryBox, tmp_path: Path
) -> None:
    """30 MB held are used; 20 MB of a file read twice are charged, but not used."""
    start, held, read, freed = run(box, GROW, tmp_path / "file")

    assert start["how"] == "cgroup working set"
    assert 28 * MIB < held["used"] - start["used"] < 34 * MIB
    assert read["raw"] - held["raw"] > 15 * MIB
    assert abs(read["used"] - held["used"]) < 4 * MIB
    assert freed["used"] < start["used"] + 6 * MIB
    assert box.kills() == 0
    assert held["raw"] <= box.peak() <= 96 * MIB


def test_real_cgroup_kill_is_counted(box: MemoryBox) -> None:
    """The counter that tells a kill by the kernel from any other SIGKILL."""
    meter = CgroupMeter(box.cgroup)
    before = meter.read().kills

    ended = subprocess.run(
        [sys.executable, "-c", "b'x' * (200 * 2**20)"], preexec_fn=box.enter, check=False
    )

    assert ended.returncode == -signal.SIGKILL
    assert (before, meter.read().kills, box.kills()) == (0, 1, 1)
    meter.close()


def test_real_cgroup_that_is_removed_blinds_the_meter() -> None:
    """Its open files answer with an error, and that must not be taken for a figure."""
    need_cgroup()
    with MemoryBox(64 * MIB) as box:
        meter = CgroupMeter(box.cgroup)
        meter.read()

    with pytest.raises(MeterError, match="cannot be read: No such device"):
        meter.read()
    meter.close()


def test_real_cgroup_box_ends_what_runs_in_it() -> None:
    """A test that fails half way leaves neither processes nor directories behind."""
    need_cgroup()
    with MemoryBox(64 * MIB) as box:
        child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, preexec_fn=box.enter)
        assert box.pids() == [child.pid]
        assert box.usage() > 0

    assert child.wait() == -signal.SIGKILL
    assert child.stdin is not None
    child.stdin.close()
    assert not box.path.exists()


def test_real_forked_processes_count_shared_memory_once() -> None:
    """Resident sizes added up would say it twice."""
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + FORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pids = json.loads(parent.stdout.readline())["pids"]
        meter = TreeMeter(lambda: pids)
        used_bytes = meter.read().used_bytes
        meter.close()
        resident_bytes = sum(read_rollup(pid).rss_bytes for pid in pids)

    assert 20 * MIB < used_bytes < 36 * MIB
    assert resident_bytes > 2 * 20 * MIB
