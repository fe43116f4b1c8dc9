"""What a process holds with all that it has started, counted in real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.waiting import await_true

from tonnage.host import reins
from tonnage.server.jobs.holding import Holding
from tonnage.units import MIB

# Reads lines of Python, and runs each.
_OBEDIENT = "import sys\nfor line in sys.stdin: exec(line); print('done', flush=True)"


@contextmanager
def obedient() -> Iterator[subprocess.Popen[str]]:
    """Yield a process that does what it is told."""
    with subprocess.Popen(
        [sys.executable, "-c", _OBEDIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Have *process* run *line*, and wait until it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """Yield one that has begun."""
    with obedient() as process:
        tell(process, "import mmap, os, time")
        yield process


@pytest.fixture
def holding(process: subprocess.Popen[str]) -> Iterator[Holding]:
    """Yield what it holds from now on."""
    holding = Holding(process.pid)
    yield holding
    holding.close()


def test_private_and_shared_memory_are_one_sum(
    process: subprocess.Popen[str], holding: Holding
) -> None:
    """And it is told which is which."""
    tell(process, f"one = b'x' * {10 * MIB}")
    tell(process, f"two = mmap.mmap(-1, {20 * MIB}); _ = two.write(b'x' * {20 * MIB})")
    assert 29 * MIB <= holding.held_bytes() <= 34 * MIB
    assert "20 MB of shared memory" in holding.describe()


def test_a_mapped_file_is_not_held(
    process: subprocess.Popen[str], holding: Holding, tmp_path: Path
) -> None:
    """Its pages come back by themselves."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * (20 * MIB))
    tell(process, f"f = open({str(file)!r}, 'rb')")
    tell(process, "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); _ = m[::4096].count(b'x')")
    assert holding.exact_bytes() < 4 * MIB


def test_what_a_fork_shares_counts_once(process: subprocess.Popen[str], holding: Holding) -> None:
    """What it takes itself counts."""
    tell(process, f"one = b'x' * {20 * MIB}")
    tell(process, "if not os.fork(): time.sleep(60)")
    holding.look_below()
    assert 19 * MIB <= holding.held_bytes() <= 26 * MIB
    tell(process, f"if not os.fork(): two = b'x' * {20 * MIB}; time.sleep(60)")
    await_true(lambda: holding.exact_bytes() >= 39 * MIB, "what the other has taken")
    assert holding.exact_bytes() <= 48 * MIB
    assert "in the 2 processes" in holding.describe()
    for pid in holding.pids_below():
        assert reins.end(pid)


def test_who_is_gone_holds_nothing(process: subprocess.Popen[str], holding: Holding) -> None:
    """That is no error."""
    tell(process, f"one = b'x' * {20 * MIB}")
    process.kill()
    process.wait()
    assert holding.exact_bytes() == 0
