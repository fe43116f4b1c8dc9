"""The application's programs: real processes, which hold memory and do nothing."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from subprocess import Popen

from tests.support.process import data_limit

from tonnage.governor.page import SharedPage
from tonnage.host.reins import UNLIMITED
from tonnage.server.programs import GONE_SECONDS, Programs, Started
from tonnage.units import MIB

FUSE_BYTES = 900 * MIB


@dataclass
class Stage:
    """A worker, whose place this process takes, and what it has started."""

    now_seconds: float = 100.0
    page: SharedPage = field(default_factory=SharedPage)
    listed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.slots[2].pid = os.getpid()
        self.programs = Programs(
            self.page, others=lambda: self.listed, clock=lambda: self.now_seconds
        )

    def scan(self, after_seconds: float = 0.1) -> None:
        """Look at the programs a little later."""
        self.now_seconds += after_seconds
        self.programs.scan()

    def gone(self) -> list[Started]:
        """Return who is gone."""
        return self.programs.gone()


@contextmanager
def started(stage: Stage, *sizes_mb: int) -> Iterator[list[Popen[bytes]]]:
    """Yield programs of so many MB that have the fuse of a worker, and list them."""
    with ExitStack() as ending:
        made = []
        for size in sizes_mb:
            code = f"held = bytearray(b'x') * ({size} << 20); print(flush=True); input()"
            each = Popen(
                [sys.executable, "-S", "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                preexec_fn=_inherit,
            )
            ending.enter_context(each)
            ending.callback(each.kill)
            made.append(each)
        for each in made:
            assert each.stdout is not None
            each.stdout.readline()
        stage.listed += [each.pid for each in made]
        yield made


def _inherit() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (FUSE_BYTES, UNLIMITED))


def test_a_program_is_let_off_the_fuse_that_it_has_inherited() -> None:
    """It was its worker's at that moment, and nobody would move it."""
    stage = Stage()
    with started(stage, 1) as (program,):
        assert data_limit(program.pid) == FUSE_BYTES
        stage.scan()
        assert data_limit(program.pid) == UNLIMITED


def test_a_limit_of_its_own_stays() -> None:
    """That one bounds the hard limit too; and what it sets for itself later is not touched."""
    stage = Stage()
    with started(stage, 1, 1) as (strict, late):
        resource.prlimit(strict.pid, resource.RLIMIT_DATA, (FUSE_BYTES, FUSE_BYTES))
        stage.scan()
        resource.prlimit(late.pid, resource.RLIMIT_DATA, (FUSE_BYTES, UNLIMITED))
        stage.scan()

        assert data_limit(strict.pid) == FUSE_BYTES
        assert data_limit(late.pid) == FUSE_BYTES


def test_those_that_grow_are_one() -> None:
    """With the speeds of all, and the largest for its name; who stays as it is has no part."""
    stage = Stage()
    with started(stage, 20) as (old,):
        stage.scan()
        stage.scan()
        assert stage.programs.as_mover() is None
        with started(stage, 30, 50) as (small, large):
            stage.scan()
            mover = stage.programs.as_mover()

            assert mover is not None
            assert (mover.pid, mover.index) == (large.pid, None)
            assert mover.bytes_per_second > 800 * MIB
            assert stage.programs.growing() == [large.pid, small.pid]
            assert old.pid in stage.programs


def test_who_is_gone_is_told_once_the_largest_first() -> None:
    """With its name and its worker, which cannot be asked any more."""
    stage = Stage()
    with started(stage, 20, 40, 1) as programs:
        stage.scan()
        for each in programs:
            each.kill()
            each.wait()
        first, second = stage.gone()

        assert [first.program.pid, second.program.pid] == [programs[1].pid, programs[0].pid]
        assert first.program.name.startswith("python")
        assert first.worker == 2
        assert stage.gone() == []


def test_who_went_long_ago_is_not_told() -> None:
    """Nothing that is counted now was that one."""
    stage = Stage()
    with started(stage, 20) as (program,):
        stage.scan()
        program.kill()
        program.wait()
        stage.scan()
        stage.now_seconds += GONE_SECONDS + 0.1

        assert stage.gone() == []


def test_who_was_ended_by_us_is_neither_growing_nor_gone() -> None:
    """Also while the kernel still lists it: it would be ended, and reported, twice."""
    stage = Stage()
    with started(stage, 40) as (program,):
        stage.scan()
        found = stage.programs.end(program.pid)
        stage.scan()

        assert found.program.pid == program.pid
        assert stage.programs.growing() == []
        assert program.pid not in stage.programs
        assert stage.gone() == []
        assert program.wait(5.0) == -signal.SIGKILL
