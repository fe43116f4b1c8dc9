"""What a process has held between two looks, by the kernel's mark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tonnage.host.cgroups import MemoryCgroup, Version
from tonnage.host.highwater import HighWater, charged_peak_bytes
from tonnage.units import MIB


def write(root: Path, pid: int, mark_mb: int, resident_mb: int) -> None:
    """Have a process of these sizes."""
    status = root / f"proc/{pid}/status"
    status.parent.mkdir(parents=True, exist_ok=True)
    status.write_text(f"Name:\tx\nVmHWM:\t{mark_mb * 1024} kB\nVmRSS:\t{resident_mb * 1024} kB\n")


def test_only_a_mark_that_has_risen_says_something(tmp_path: Path) -> None:
    """What happened before the first look, or stayed below the highest, is not told again."""
    water = HighWater(tmp_path)
    write(tmp_path, 1, 100, 40)
    assert water.risen_bytes([1]) == 0
    write(tmp_path, 1, 130, 50)
    assert water.risen_bytes([1]) == 80 * MIB
    assert water.risen_bytes([1]) == 0


def test_several_are_taken_together(tmp_path: Path) -> None:
    """As if all had been so large at the same moment."""
    water = HighWater(tmp_path)
    for pid in (1, 2, 3):
        write(tmp_path, pid, 50, 50)
    water.risen_bytes([1, 2, 3])
    write(tmp_path, 1, 80, 50)
    write(tmp_path, 2, 60, 50)
    assert water.risen_bytes([1, 2, 3]) == 40 * MIB


def test_of_those_that_have_ended_nothing_is_kept(tmp_path: Path) -> None:
    """A process of the same number later is another one."""
    water = HighWater(tmp_path)
    write(tmp_path, 1, 50, 50)
    water.risen_bytes([1])
    assert water.risen_bytes([2]) == 0
    write(tmp_path, 1, 90, 20)
    assert water.risen_bytes([1]) == 0


def test_a_real_process_is_seen_to_have_been_larger() -> None:
    """32 MB taken and given back before anybody looked."""
    code = (
        "import mmap\ninput()\nblock = mmap.mmap(-1, 32 << 20)\nblock.write(bytes(32 << 20))\n"
        "block.close()\nprint(flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        water = HighWater()
        water.risen_bytes([process.pid])
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        # The kernel counts resident pages a little late.
        assert water.risen_bytes([process.pid]) >= 28 * MIB
        process.stdin.close()


@pytest.mark.parametrize(
    ("version", "name"), [(1, "memory.max_usage_in_bytes"), (2, "memory.peak")]
)
def test_the_mark_of_a_cgroup_is_what_was_charged_at_most(
    tmp_path: Path, version: Version, name: str
) -> None:
    """None where there is no cgroup, and where its kernel keeps no such mark."""
    cgroup = MemoryCgroup(version, tmp_path, "/app")
    assert charged_peak_bytes(None) is None
    assert charged_peak_bytes(cgroup) is None
    (tmp_path / name).write_text("1234567\n")
    assert charged_peak_bytes(cgroup) == 1234567
