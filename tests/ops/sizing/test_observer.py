"""What a server observes of itself, in a shared page and by clocks that the test sets."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.ops.sizing.histories import MONDAY

from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import Statistics, WorkerState, read_statistics
from tonnage.ops.sizing.book import Book, read
from tonnage.ops.sizing.keeping import Keeping
from tonnage.ops.sizing.observer import Eyes, Observer
from tonnage.ops.sizing.period import Counts
from tonnage.ops.sizing.record import DAY_SECONDS, HOUR_SECONDS, History, Row
from tonnage.units import MIB

NAME = "main_app-0badcafe"


@dataclass
class Server:
    """A server that is not there: its page, its counts, its clocks and its observer."""

    directory: Path
    least_seconds: float = 0.0
    opens: bool = True
    at: float = 1000.0
    wall: float = MONDAY + 10 * HOUR_SECONDS
    counted: Counts = field(default_factory=Counts)
    risen: int = 0
    charged: int | None = None
    told: list[Row] = field(default_factory=list)
    reads: int = 0
    book: Book | None = None

    def __post_init__(self) -> None:
        self.page = SharedPage(2)
        header = self.page.header
        header.limit_bytes, header.used_bytes = 512 * MIB, 100 * MIB
        header.supervisor_pss_bytes, header.zygote_pss_bytes = 12 * MIB, 20 * MIB
        header.planned_workers = header.desired_workers = 2
        header.workers_own_bytes = 30 * MIB
        for index, slot in enumerate(self.page.slots):
            slot.pid, slot.state = 4000 + index, WorkerState.READY
            slot.held_bytes, slot.pss_bytes = (index + 1) * 10 * MIB, 30 * MIB
            slot.in_flight = 3
        header.workers_own_bytes = 30 * MIB
        self.observer = Observer(
            Eyes(self.read, lambda: self.counted, self.risen_bytes, lambda: self.charged),
            Keeping(
                self.open_book, History("main:app", "/srv", "1.0", "", True, 0, True, None, {})
            ),
            tell=self.told.append,
            least_seconds=self.least_seconds,
            clock=lambda: self.at,
            wall_clock=lambda: self.wall,
        )

    def read(self) -> Statistics:
        """Return the state of this moment."""
        self.reads += 1
        return read_statistics(self.page, int(self.at * 1e9))

    def risen_bytes(self, pids: Iterable[int]) -> int:
        """Return what both workers held beyond now, once."""
        assert list(pids) == [4000, 4001]
        risen, self.risen = self.risen, 0
        return risen

    def open_book(self) -> Book | None:
        """Return the book, if there is to be one."""
        self.book = Book.open(self.directory, NAME) if self.opens else None
        return self.book

    def use(self, size_mb: float) -> None:
        """Have a look find so much in use."""
        self.page.header.used_bytes = int(size_mb * MIB)
        self.page.header.workers_own_bytes = sum(slot.held_bytes for slot in self.page.slots)
        self.observer.note(self.page.header.used_bytes)

    def pass_seconds(self, seconds: int, step: float = 1.0) -> None:
        """Let time go by, with a tick every *step*."""
        end = self.at + seconds
        while self.at < end:
            self.at += step
            self.wall += step
            self.observer.tick()

    def kept(self) -> History:
        """What is on disk."""
        history = read(self.directory / f"{NAME}.json")
        assert history is not None
        return history


def test_a_peak_between_two_ticks_is_seen_with_who_held_it(tmp_path: Path) -> None:
    """A look at 300 MB, gone before the next tick."""
    server = Server(tmp_path)
    server.pass_seconds(10)
    server.page.slots[1].held_bytes = 220 * MIB
    server.use(300)
    server.page.slots[1].held_bytes = 20 * MIB
    server.use(100)
    server.pass_seconds(100)
    server.observer.close()

    (day,) = server.kept().days
    (hour,) = server.kept().hours
    assert day.peak_bytes == hour.peak_bytes == 300 * MIB
    assert day.at_peak["workers_own"] == 230 * MIB
    assert day.peaks["worker_own"] == 220 * MIB
    assert sum(day.at_peak.values()) == pytest.approx(300 * MIB, abs=MIB)
    assert day.p99_bytes < 103 * MIB
    assert day.seconds == hour.seconds == 110
    assert (day.workers, day.limit_bytes, day.in_flight) == (2, 512 * MIB, 6)
    assert (day.start_seconds, hour.start_seconds) == (MONDAY, MONDAY + 10 * HOUR_SECONDS)


def test_what_workers_reached_between_two_looks_counts_as_theirs(tmp_path: Path) -> None:
    """No look has found it, but the kernel's mark has."""
    server = Server(tmp_path)
    server.pass_seconds(5)
    server.risen = 80 * MIB
    server.pass_seconds(5)
    server.observer.close()

    (day,) = server.kept().days
    assert day.peak_bytes == 180 * MIB
    assert day.at_peak["workers_own"] == 110 * MIB


def test_workers_that_peaked_one_after_the_other_are_not_added_up_beyond_the_kernels_mark(
    tmp_path: Path,
) -> None:
    """Of what was charged at most, the file cache that was there all along is none of theirs."""
    server = Server(tmp_path)
    server.page.header.cache_bytes = 30 * MIB
    server.pass_seconds(5)
    server.risen, server.charged = 80 * MIB, 170 * MIB
    server.pass_seconds(1)
    server.observer.close()

    (day,) = server.kept().days
    assert day.peak_bytes == 140 * MIB
    assert sum(day.at_peak.values()) == 140 * MIB


def test_cache_that_came_since_can_have_been_memory_then(tmp_path: Path) -> None:
    """What is cache now need not have been at the peak: no less than was there before is taken."""
    server = Server(tmp_path)
    server.page.header.cache_bytes = 10 * MIB
    server.pass_seconds(5)
    server.page.header.cache_bytes = 60 * MIB
    server.risen, server.charged = 80 * MIB, 170 * MIB
    server.pass_seconds(1)
    server.observer.close()
    assert server.kept().days[0].peak_bytes == 160 * MIB


def test_no_peak_is_above_the_limit(tmp_path: Path) -> None:
    """Nor is a p99, where the kernel tells nothing of the whole and marks rise every second."""
    server = Server(tmp_path)
    for _ in range(20):
        server.risen = 900 * MIB
        server.pass_seconds(1)
    server.observer.close()
    (day,) = server.kept().days
    assert day.peak_bytes == day.p99_bytes == 512 * MIB


def test_hours_and_days_end_and_their_rows_stay(tmp_path: Path) -> None:
    """Over midnight: two hours and two days, each with its own peak and counts."""
    server = Server(tmp_path, wall=MONDAY + DAY_SECONDS - 30)
    server.use(200)
    server.pass_seconds(20)
    server.counted = Counts(refused=5)
    server.pass_seconds(20)
    server.use(100)
    server.pass_seconds(1)
    server.counted = Counts(refused=7, kernel_kills=1)
    server.use(150)
    server.pass_seconds(20)
    server.observer.close()

    kept = server.kept()
    assert [row.refused for row in kept.days] == [row.refused for row in kept.hours] == [5, 2]
    assert [row.kernel_kills for row in kept.days] == [0, 1]
    assert [row.peak_bytes // MIB for row in kept.days] == [200, 200]
    assert [row.start_seconds for row in kept.days] == [MONDAY, MONDAY + DAY_SECONDS]
    assert kept.hours[1].start_seconds == MONDAY + DAY_SECONDS
    assert sum(row.seconds for row in kept.days) == 61


def test_only_so_many_hours_and_days_are_kept(tmp_path: Path) -> None:
    """A hundred days later, 90 days and 48 hours."""
    server = Server(tmp_path)
    for day in range(100):
        server.wall = MONDAY + day * DAY_SECONDS
        server.pass_seconds(2)
        server.wall = MONDAY + day * DAY_SECONDS + HOUR_SECONDS
        server.pass_seconds(301, step=43.0)
    server.observer.close()

    kept = server.kept()
    assert (len(kept.days), len(kept.hours)) == (90, 48)
    assert kept.days[-1].start_seconds == MONDAY + 99 * DAY_SECONDS


def test_the_first_is_written_after_a_minute_however_early_it_began(tmp_path: Path) -> None:
    """In a directory that was named, too: a look that came before any measure is worth nothing."""
    server = Server(tmp_path)
    used, server.page.header.used_bytes = server.page.header.used_bytes, 0
    server.pass_seconds(3)
    server.page.header.used_bytes = used
    server.pass_seconds(57)
    assert server.kept().days[0].seconds == 57
    server.pass_seconds(299)
    assert server.kept().days[0].seconds == 57
    server.pass_seconds(1)
    assert server.kept().days[0].seconds == 357
    server.observer.close()


def test_it_is_written_every_five_minutes_and_settled_later(tmp_path: Path) -> None:
    """What a server that is killed leaves behind is five minutes old at most."""
    server = Server(tmp_path, least_seconds=60)
    file = tmp_path / f"{NAME}.json"
    server.pass_seconds(59)
    assert not list(tmp_path.iterdir())
    server.pass_seconds(1)
    assert server.kept().is_running
    assert not file.exists()
    server.pass_seconds(60)
    assert file.exists()
    assert server.kept().days[0].seconds == 60
    server.pass_seconds(240)
    assert server.kept().days[0].seconds == 360
    server.observer.close()
    assert not server.kept().is_running


def test_a_short_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where nobody has named a directory, a run of half a minute is not worth a file or a line."""
    server = Server(tmp_path, least_seconds=60)
    server.pass_seconds(30)
    server.observer.close()
    server.observer.close()  # any number of times
    assert not list(tmp_path.iterdir())
    assert server.told == []


def test_while_memory_is_short_writing_waits(tmp_path: Path) -> None:
    """A disk that hangs must not keep anybody from being braked; half an hour is enough, though."""
    server = Server(tmp_path)
    server.pass_seconds(5)
    assert server.kept().days[0].seconds == 1
    server.page.header.level = Level.CRITICAL
    server.pass_seconds(1700)
    assert server.kept().days[0].seconds == 1
    server.pass_seconds(500)
    assert server.kept().days[0].seconds > 1800
    assert server.kept().days[0].level_seconds[Level.CRITICAL] > 1800
    server.observer.close()


def test_the_next_run_goes_on_in_the_same_rows(tmp_path: Path) -> None:
    """A restart within the hour: one row, of both; and a clean end is none without a word."""
    first = Server(tmp_path)
    first.use(300)
    first.pass_seconds(100)
    first.counted = Counts(refused=3)
    first.observer.close()
    second = Server(tmp_path, wall=first.wall + 5)
    second.pass_seconds(200)
    second.observer.close()

    (day,) = second.kept().days
    (hour,) = second.kept().hours
    assert (day.seconds, hour.seconds) == (300, 300)
    assert day.peak_bytes == 300 * MIB
    assert (day.refused, day.cut_off) == (3, 0)


def test_the_next_run_with_another_limit_has_rows_of_its_own(tmp_path: Path) -> None:
    """Of the same hour and day: what is used of 1 GB says nothing of 512 MB. The newest is last."""
    server = Server(tmp_path)
    for limit_mb, peak_mb in ((1024, 900), (512, 200), (1024, 300)):
        server = Server(tmp_path, wall=server.wall + 5)
        server.page.header.limit_bytes = limit_mb * MIB
        server.use(peak_mb)
        server.pass_seconds(100)
        server.observer.close()

    for rows in (server.kept().days, server.kept().hours):
        found = [(row.limit_bytes // MIB, row.peak_bytes // MIB, row.seconds) for row in rows]
        assert found == [(512, 200, 100), (1024, 900, 200)]


def test_a_run_that_was_killed_is_counted(tmp_path: Path) -> None:
    """It has not said that it ends, and its lock is free."""
    first = Server(tmp_path)
    first.pass_seconds(2)
    assert first.book is not None
    first.book.close()  # as the kernel does for the dead
    second = Server(tmp_path, wall=first.wall + 5)
    second.pass_seconds(2)
    second.observer.close()
    third = Server(tmp_path, wall=second.wall + 5)
    third.pass_seconds(2)
    third.observer.close()
    assert [row.cut_off for row in third.kept().days] == [1]


def test_it_tells_once_a_day_and_at_the_end(tmp_path: Path) -> None:
    """Where disks do not last, the log has it."""
    server = Server(tmp_path, opens=False)
    server.pass_seconds(DAY_SECONDS, step=5.0)
    assert len(server.told) == 1
    server.use(250)
    server.pass_seconds(3600, step=5.0)
    server.observer.close()

    assert [round(row.seconds) for row in server.told] == [DAY_SECONDS, 3600]
    assert [row.peak_bytes // MIB for row in server.told] == [100, 250]
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_nothing_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory in the place of the file that is written: the server goes on."""
    (tmp_path / f"{NAME}.new").mkdir()
    server = Server(tmp_path)
    with caplog.at_level(logging.INFO):
        server.pass_seconds(2000)
        server.observer.close()
    messages = [record.message for record in caplog.records]
    assert len(messages) == 1
    assert "cannot be kept: Is a directory; see --state-dir" in messages[0]


def test_what_cannot_be_understood_is_set_aside_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is kept beside, and observing begins anew."""
    (tmp_path / f"{NAME}.json").write_text('{"format": 0}')
    server = Server(tmp_path)
    server.pass_seconds(2)
    server.observer.close()
    assert "its format is 0, not 1" in caplog.text
    assert (tmp_path / f"{NAME}.unreadable").read_text() == '{"format": 0}'
    assert server.kept().days[0].seconds == 2


def test_what_was_not_looked_at_does_not_count(tmp_path: Path) -> None:
    """A supervisor stopped for an hour has seen 5 s of it; one that is blind sees nothing."""
    server = Server(tmp_path)
    server.pass_seconds(HOUR_SECONDS, step=HOUR_SECONDS)
    server.page.header.blind = 1
    server.pass_seconds(100)
    server.page.header.blind = 0
    server.pass_seconds(1)
    server.observer.close()
    assert sum(row.seconds for row in server.kept().days) == 6


def test_looking_costs_little_once_the_peak_is_known(tmp_path: Path) -> None:
    """The whole state is read for a record only, not for each look."""
    server = Server(tmp_path)
    server.use(400)
    server.pass_seconds(1)
    before = server.reads
    for _ in range(1000):
        server.use(390)
    assert server.reads == before
    server.observer.close()


def test_it_is_bounded(tmp_path: Path) -> None:
    """Rows that no disk takes do not gather without end."""
    (tmp_path / f"{NAME}.new").mkdir()
    server = Server(tmp_path)
    for hour in range(200):
        server.wall = MONDAY + hour * HOUR_SECONDS
        server.pass_seconds(2)
    os.rmdir(tmp_path / f"{NAME}.new")
    server.observer.close()
    kept = server.kept()
    # The present ones, and so many before: of days, those of 48 hours.
    assert (len(kept.hours), len(kept.days)) == (48, 4)
