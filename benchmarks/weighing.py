"""The memory of a tree of processes while it works: sampled PSS, and its peaks by what they are.

A thread looks at ``smaps_rollup`` every ``SAMPLE_SECONDS``: what rises and falls in between is not
seen, and looking takes time from two cores, so times are measured without it. The job's process,
where there is one, is told from the server's by its name; the largest of its resident size is the
kernel's own record.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.box import MemoryBox
from benchmarks.memory import tree_kilobytes

SAMPLE_SECONDS = 0.04

_JOBS = (b"tonnage-job", b"benchmarks.cutting")
"""What is in the name or the command line of a process that does one photo."""


@dataclass(slots=True)
class Weight:
    """The peaks of a time, in KB."""

    tree_pss: int = 0
    server_pss: int = 0
    job_pss: int = 0
    job_rss: int = 0


def job_pids(box: MemoryBox) -> list[int]:
    """Return the processes in *box* that do a photo."""
    return [pid for pid in box.pids if _is_job(pid)]


def pss_kilobytes(box: MemoryBox) -> int:
    """Return what the tree weighs now."""
    return tree_kilobytes(box.pids)["Pss"]


@contextlib.contextmanager
def weighing(box: MemoryBox) -> Iterator[Weight]:
    """Yield the peaks of the processes in *box*, kept until the block ends."""
    weight, ends = Weight(), threading.Event()

    def watch() -> None:
        while not ends.wait(SAMPLE_SECONDS):
            _look(box, weight)

    thread = threading.Thread(target=watch, name="weighing")
    thread.start()
    try:
        yield weight
    finally:
        ends.set()
        thread.join()


def await_no_job(box: MemoryBox, within_seconds: float) -> float | None:
    """Wait until no process of a job is left; return after how many seconds, None if one is."""
    began = time.monotonic()
    while job_pids(box):
        if time.monotonic() - began > within_seconds:
            return None
        time.sleep(0.02)
    return time.monotonic() - began


def _look(box: MemoryBox, weight: Weight) -> None:
    jobs = job_pids(box)
    job_pss = tree_kilobytes(jobs)["Pss"]
    server_pss = tree_kilobytes(set(box.pids).difference(jobs))["Pss"]
    weight.tree_pss = max(weight.tree_pss, job_pss + server_pss)
    weight.server_pss = max(weight.server_pss, server_pss)
    weight.job_pss = max(weight.job_pss, job_pss)
    weight.job_rss = max([weight.job_rss, *map(_peak_kilobytes, jobs)])


def _is_job(pid: int) -> bool:
    try:
        process = Path(f"/proc/{pid}")
        said = (process / "comm").read_bytes() + (process / "cmdline").read_bytes()
    except OSError:
        return False  # ended meanwhile
    return any(name in said for name in _JOBS)


def _peak_kilobytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
