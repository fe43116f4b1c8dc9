"""What is read about single processes, from fixture files and from real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.host import trees
from tests.support.waiting import await_true

from tonnage.host.processes import (
    PAGE_BYTES,
    Rollup,
    Statm,
    StatmSample,
    age_seconds,
    descendants,
    read_rollup,
    status_bytes,
)
from tonnage.units import KIB, MIB

# Both live until the pipe ends; a shell gives a child in the background no input of its own accord.
FAMILY = "exec 3<&0; cat <&3 & echo $!; wait"


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """Yield the ids of a real process and its real child."""
    with subprocess.Popen(
        ["/bin/sh", "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        child = int(shell.stdout.readline())
        yield shell.pid, child
        shell.kill()


def test_statm_counts_pages_and_tells_bytes(tmp_path: Path) -> None:
    """Private memory is what is resident and neither file nor shared memory."""
    trees.process(tmp_path, 7, resident_pages=100, shared_pages=40)
    statm = Statm(7, tmp_path)

    sample = statm.read()

    assert sample == StatmSample(100 * PAGE_BYTES, 40 * PAGE_BYTES, 4000 * PAGE_BYTES)
    assert sample.private_bytes == 60 * PAGE_BYTES
    statm.close()


def test_statm_follows_the_process_through_one_open_file(tmp_path: Path) -> None:
    """A second reading is of now, not of when the file was opened."""
    trees.process(tmp_path, 7, resident_pages=100)
    statm = Statm(7, tmp_path)
    trees.process(tmp_path, 7, resident_pages=300)

    assert statm.read().resident_bytes == 300 * PAGE_BYTES
    statm.close()
    statm.close()


def test_statm_of_nobody_is_a_lookup_error(tmp_path: Path) -> None:
    """So that gone and forbidden can be told apart."""
    with pytest.raises(ProcessLookupError):
        Statm(7, tmp_path)


def test_a_zombie_counts_as_gone() -> None:
    """The kernel keeps its files, but it holds no memory any more."""
    child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    statm = Statm(child.pid)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    with pytest.raises(ProcessLookupError):
        statm.read()
    with pytest.raises(ProcessLookupError):
        read_rollup(child.pid)

    child.wait()
    with pytest.raises(ProcessLookupError):
        statm.read()
    statm.close()


def test_rollup_sums_are_in_bytes(tmp_path: Path) -> None:
    """The file counts kB; own pages are those that nobody shares, clean or dirty."""
    trees.process(tmp_path, 7)
    trees.rollup(
        tmp_path,
        7,
        Rss=50 * MIB,
        Pss=30 * MIB,
        Pss_Anon=20 * MIB,
        Private_Clean=4 * MIB,
        Private_Dirty=20 * MIB,
    )

    assert read_rollup(7, tmp_path) == Rollup(
        rss_bytes=50 * MIB,
        pss_bytes=30 * MIB,
        uss_bytes=24 * MIB,
        pss_anon_bytes=20 * MIB,
    )


def test_status_tells_sizes_by_the_kernels_names(tmp_path: Path) -> None:
    """In bytes, whatever the process calls itself; the dead have none."""
    status = tmp_path / "proc/7/status"
    status.parent.mkdir(parents=True)
    status.write_text("Name:\tVmRSS: 9 kB\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\n")
    assert status_bytes(7, b"VmRSS", b"VmHWM", root=tmp_path) == (200 * KIB, 300 * KIB)
    status.write_text("Name:\tx\nState:\tZ (zombie)\n")
    with pytest.raises(ProcessLookupError):
        status_bytes(7, b"VmRSS", root=tmp_path)


def test_descendants_by_the_parents_of_all_processes(tmp_path: Path) -> None:
    """Without the children files every stat is read; a command's name may hold parentheses."""
    for pid, parent in ((1, 0), (10, 1), (11, 10), (12, 10), (20, 11), (30, 1)):
        trees.process(tmp_path, pid, parent=parent)
    trees.meminfo(tmp_path, 1, 1)  # one of the entries in /proc that are not processes

    assert sorted(descendants(10, tmp_path)) == [11, 12, 20]
    assert descendants(20, tmp_path) == []


def test_descendants_by_the_children_files_of_all_threads(tmp_path: Path) -> None:
    """Any thread may have forked; a child that has just ended has no directory any more."""
    trees.write(tmp_path / "proc/10/task/10/children", "11 12 ")
    trees.write(tmp_path / "proc/10/task/15/children", "13 ")
    trees.write(tmp_path / "proc/11/task/11/children", "20 ")

    assert sorted(descendants(10, tmp_path)) == [11, 12, 13, 20]


def test_a_circle_of_parents_ends(tmp_path: Path) -> None:
    """Process ids are used again, so two looks at different moments can contradict each other."""
    trees.write(tmp_path / "proc/10/task/10/children", "11")
    trees.write(tmp_path / "proc/11/task/11/children", "10 11 12")

    assert sorted(descendants(10, tmp_path)) == [11, 12]


def test_real_descendants_are_found(family: tuple[int, int]) -> None:
    """A child of a child belongs to the tree of the first."""
    shell, child = family

    assert descendants(shell) == [child]
    assert {shell, child} <= set(descendants(os.getpid()))


def test_real_figures_of_this_process_agree() -> None:
    """Shares are at most what is resident, own pages at most the share."""
    statm = Statm(os.getpid())
    sample, rollup = statm.read(), read_rollup(os.getpid())
    statm.close()

    assert 0 < rollup.uss_bytes <= rollup.pss_bytes <= rollup.rss_bytes
    assert abs(sample.resident_bytes - rollup.rss_bytes) < 4 * MIB
    status = Path("/proc/self/status").read_text()
    assert sample.data_bytes >= int(status.partition("VmData:")[2].split()[0]) * KIB - MIB


def test_the_room_imports_nothing_dear() -> None:
    """Each worker and the supervisor load it, so it may cost standard library only."""
    code = (
        "import sys; before = set(sys.modules); import tonnage.host.usage, tonnage.host.cpu;"
        "print(sorted({'asyncio', 'psutil', 'pydantic', 'ctypes'} & (set(sys.modules) - before)))"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)

    assert printed.strip() == "[]"


def test_how_long_a_process_has_run() -> None:
    """As exact as a tick."""
    before = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        await_true(lambda: age_seconds(child.pid) >= 0.05, "it has run for a while")
        age = age_seconds(child.pid)
        most = time.monotonic() - before
        child.kill()

    assert 0.05 <= age <= most + 0.03


def test_a_process_that_ends_while_it_is_read_is_a_lookup_error(tmp_path: Path) -> None:
    """Its files are there still, and say nothing of it."""
    directory = tmp_path / "proc" / "7"
    directory.mkdir(parents=True)
    (directory / "smaps_rollup").write_text("00400000-7ffc [rollup]\n")
    (directory / "status").write_text("Name:\tpython\n")
    with pytest.raises(ProcessLookupError):
        read_rollup(7, tmp_path)
    with pytest.raises(ProcessLookupError):
        status_bytes(7, b"VmData", root=tmp_path)
