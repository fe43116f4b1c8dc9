"""Fuses beside isolated jobs: what was promised to one is not taken from another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest
from tests.server.scene import sleepers
from tests.server.test_watch import CEILING_BYTES, MARKS, Gauge

from tonnage.config import load_settings
from tonnage.governor.fuse import SLACK_BYTES
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import WorkerState
from tonnage.host.processes import Statm
from tonnage.jobs.line import Line
from tonnage.server.hold import make_hold
from tonnage.server.jobs.books import Books
from tonnage.server.watch import Watch
from tonnage.units import MIB


@dataclass
class Stage:
    """One worker, which is a process that sleeps, and a job that is told and not measured."""

    process: Popen[bytes]

    def __post_init__(self) -> None:
        self.page, self.gauge, self.now_seconds = SharedPage(), Gauge(), 100.0
        self.page.use_slots(1)
        self.watch = Watch(self.page, self.gauge, MARKS, CEILING_BYTES, clock=self.clock)
        self.watch.read_jobs = lambda: self.page.header.jobs_held_bytes
        self.hold = make_hold(
            load_settings({}, {}, Path()).memory,
            self.page,
            self.watch,
            others=list,
            shrink=lambda spare: None,
            clock=self.clock,
        )
        self.slot = self.page.slots[0]
        statm = Statm(self.process.pid)
        self.slot.pid, self.slot.state = self.process.pid, WorkerState.READY
        self.slot.baseline_bytes = statm.read().private_bytes
        self.slot.data_bytes = statm.read().data_bytes
        statm.close()

    def clock(self) -> float:
        """Return the time."""
        return self.now_seconds

    def room_mb(self) -> float:
        """Look, and return what the worker may still grow by."""
        self.now_seconds += 0.1
        assert self.hold.look(spared=None) is not None
        return (self.slot.data_limit_bytes - self.slot.data_bytes) / MIB

    def promise(self, size_mb: int) -> None:
        """Let the worker's requests be promised so much."""
        self.slot.promised_bytes = self.slot.granted_bytes = size_mb * MIB
        self.slot.committed_bytes = size_mb * MIB

    def job(self) -> int:
        """Promise all that is left to a job, and return how much that is, in bytes."""
        left = Books(self.page, Line(1, 1)).room().free_bytes
        self.page.header.jobs_committed_bytes = left
        return left


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Yield a stage whose watch has looked once."""
    with sleepers(1) as (process,):
        stage = Stage(process)
        stage.room_mb()
        yield stage
        stage.watch.forget(0)


def test_a_request_keeps_what_it_was_granted_beside_a_job(stage: Stage) -> None:
    """Both were let in against the same room, and slack is left for what is innocent."""
    stage.promise(150)
    job_bytes = stage.job()
    assert job_bytes > 150 * MIB

    assert stage.room_mb() >= 150 + SLACK_BYTES / MIB


def test_what_a_job_was_promised_is_not_a_requests(stage: Stage) -> None:
    """All the rest may be."""
    before_mb = stage.room_mb()
    job_bytes = stage.job()

    assert stage.room_mb() == pytest.approx(before_mb - job_bytes / MIB, abs=1)


def test_what_a_job_has_taken_counts_once(stage: Stage) -> None:
    """As used, and as promised no more."""
    stage.promise(150)
    job_bytes = stage.job()
    promised_mb = stage.room_mb()

    stage.page.header.jobs_held_bytes = job_bytes // 2
    stage.gauge.used_mb += job_bytes // 2 / MIB

    assert stage.room_mb() == pytest.approx(promised_mb, abs=1)


def test_where_use_cannot_be_read_nobody_is_held_tighter(stage: Stage) -> None:
    """A fuse stays where the last look has put it."""
    before = stage.slot.data_limit_bytes
    stage.gauge.is_broken = True
    stage.now_seconds += 0.1

    assert stage.hold.look(spared=None) is None
    assert stage.slot.data_limit_bytes == before > 0
