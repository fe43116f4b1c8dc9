"""The black box: what it remembers, what it writes, and that it never fails its owner."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import time
import tracemalloc
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.server.accidents import (
    AT_SECONDS,
    NOW_SECONDS,
    burst,
    died,
    flights,
    request,
    sample,
    statistics,
)
from tests.server.conftest import Said
from tests.support.clock import Clock

from tonnage.server.postmortem.blackbox import INCIDENT_SECONDS, MOST_INCIDENT_ROUTES, BlackBox
from tonnage.server.postmortem.facts import Incident
from tonnage.server.samples import MOST_SAMPLES, MOST_SHOWN, SampleRing
from tonnage.units import KIB

OOM = died(kernel_kills=1, in_flight=flights(request(running=True, grown_mb=402)))


def _box(directory: Path | None, *, keep: int = 20, clock: Clock | None = None) -> BlackBox:
    steady = clock or Clock(NOW_SECONDS)
    return BlackBox(
        directory,
        keep,
        clock=steady,
        wall_clock=lambda: AT_SECONDS + steady.seconds - NOW_SECONDS,
        slots=3,
    )


def test_who_had_the_place_before_is_told_from_who_has_it_now(tmp_path: Path) -> None:
    """Reports are kept by address, and that passes from one application to another."""
    for number, application in enumerate(("shop:app in /srv/shop", "", "main:app in /srv/blog")):
        box = BlackBox(
            tmp_path,
            20,
            clock=Clock(NOW_SECONDS),
            wall_clock=lambda number=number: AT_SECONDS + number,  # type: ignore[misc]
            slots=3,
            application=application,
        )
        box.write(OOM)

    found = [(each.application, box.is_own(each)) for each in box.reports()]

    assert found == [
        ("main:app in /srv/blog", True),
        ("", True),
        ("shop:app in /srv/shop", False),
    ]


def _incident(route: str = "GET /export") -> Incident:
    return Incident(worker=0, pid=4710, statistics=statistics(), route=route, answered=503)


def test_a_crash_right_after_a_failed_allocation_is_probably_its_doing(tmp_path: Path) -> None:
    """The log line says no more than is known; both are certain, that one led to the other not."""
    clock = Clock(NOW_SECONDS)
    box = _box(tmp_path, clock=clock)
    crash = died(pid=4710, worker=0, wait_status=int(signal.SIGSEGV), memory_errors=1)
    box.incident(_incident())

    clock.seconds += 1
    assert box.write(crash).summary == (
        "worker 0 crashed with SIGSEGV after allocations had failed: probably native code that "
        "cannot handle that"
    )
    assert box.write(died(wait_status=int(signal.SIGSEGV), memory_errors=1)).cause == "crash"

    clock.seconds += 60
    found = box.write(crash)
    assert found.summary == "worker 0 crashed with SIGSEGV, with no request in flight"
    assert found.report["worker"]["memory_errors"] == 1


# The ring.


def test_failures_are_remembered_of_as_many_as_there_are_workers(tmp_path: Path) -> None:
    """Whatever number of processes has come and gone: the latest count."""
    clock = Clock(NOW_SECONDS)
    box = _box(tmp_path, clock=clock)
    crash = int(signal.SIGSEGV)
    for pid in (None, 4710, 4711, 4712, 4713):
        box.incident(replace(_incident(), pid=pid))
    clock.seconds += 1.0

    deaths = [died(pid=pid, wait_status=crash, memory_errors=1) for pid in range(4710, 4714)]
    causes = [box.write(death).cause for death in deaths]
    assert causes == ["crash", *["failed-allocation"] * 3]


def test_the_ring_gives_back_what_was_noted() -> None:
    """The oldest first, with each worker's own memory."""
    ring = SampleRing(slots=3)
    for each in burst():
        ring.note(each)

    assert ring.since(90.0) == burst()
    assert ring.since(99.5) == [each for each in burst() if each.now_seconds >= 99.5]


def test_the_ring_is_bounded_and_keeps_the_newest() -> None:
    """However many are noted, and however few are asked for."""
    ring = SampleRing(slots=1)
    for number in range(3 * MOST_SAMPLES):
        ring.note(sample(number, number, 1))

    kept = [each.now_seconds for each in ring.since(0.0)]

    assert len(kept) == MOST_SHOWN
    assert kept[0] == 2 * MOST_SAMPLES
    newest = range(3 * MOST_SAMPLES - MOST_SHOWN // 2, 3 * MOST_SAMPLES)
    assert kept[-(MOST_SHOWN // 2) :] == list(newest)
    assert kept == sorted(set(kept))


def test_looks_in_quick_succession_share_a_row() -> None:
    """Every 5 ms for 5 s: the ring reaches back all of it, and the newest is there."""
    ring = SampleRing(slots=1)
    times = [90 + number * 0.005 for number in range(1001)]
    for at in times:
        ring.note(sample(at, 100, 1))

    kept = [each.now_seconds for each in ring.since(0.0)]

    assert kept[0] == pytest.approx(90.0)
    assert kept[-1] == times[-1]


def test_an_old_sample_is_better_than_none() -> None:
    """A server that is looked at once a second still has something to tell."""
    ring = SampleRing(slots=1)
    assert ring.since(0.0) == []

    ring.note(sample(1.0, 100, 1))

    assert len(ring.since(50.0)) == 1


def test_more_or_fewer_workers_than_slots_are_no_error() -> None:
    """The rest is 0, and what does not fit is left out."""
    ring = SampleRing(slots=2)
    ring.note(sample(1.0, 100, 1))
    ring.note(sample(2.0, 100, 1, 2, 3))

    assert [len(each.private_bytes) for each in ring.since(0.0)] == [2, 2]


def test_a_note_is_cheap() -> None:
    """It follows every look, up to 200 times a second: 100 us would be 2 % of a processor."""
    ring = SampleRing(slots=4)
    noted = sample(1.0, 100, 1, 2, 3, 4)

    began = time.perf_counter()
    for _ in range(1000):
        ring.note(noted)

    assert (time.perf_counter() - began) / 1000 < 100e-6


# Reports on disk.


def test_a_death_is_written_as_text_and_json(tmp_path: Path) -> None:
    """Of the same name, which says when, who and why; readable by the owner alone."""
    box = _box(tmp_path / "reports")
    for each in burst():
        box.note(each)

    filed = box.write(OOM)

    names = sorted(os.listdir(tmp_path / "reports"))
    assert names == [f"20261122T045500Z-worker1-oom.{kind}" for kind in ("json", "txt")]
    assert filed.path == tmp_path / "reports" / names[1]
    assert filed.path.read_text().startswith(f"2026-11-22 04:55:00 UTC: {filed.summary}\n")
    assert json.loads((tmp_path / "reports" / names[0]).read_text())["name"] == filed.path.stem
    assert stat.S_IMODE((tmp_path / "reports").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in filed.path.parent.iterdir()} == {0o600}


def test_two_in_one_second_are_two_reports(tmp_path: Path) -> None:
    """And keep their order."""
    box = _box(tmp_path)

    written = [box.write(OOM).path for _ in range(12)]

    newest_first = [each.name for each in box.reports()]
    assert newest_first == [path.stem for path in reversed(written) if path]


def test_reports_are_listed_with_what_happened(tmp_path: Path) -> None:
    """Without reading them whole; foreign files are none."""
    (tmp_path / "notes.json").write_text("{}")
    box = _box(tmp_path)
    box.write(OOM)

    (listed,) = box.reports()

    assert asdict(listed) == {
        "name": "20261122T045500Z-worker1-oom",
        "time": "2026-11-22T04:55:00+00:00",
        "worker": 1,
        "cause": "oom",
        "summary": "worker 1 was killed by the kernel for want of memory, because of GET /export",
        "application": "",
    }


def test_a_report_is_read_by_name_with_its_text(tmp_path: Path) -> None:
    """With or without a suffix."""
    box = _box(tmp_path)
    filed = box.write(OOM)
    assert filed.path is not None

    for name in (filed.path.stem, filed.path.name, f"{filed.path.stem}.json"):
        report = box.read(name)
        assert report is not None
        assert report["cause"]["kind"] == "oom"
        assert report["text"] == filed.path.read_text()


@pytest.mark.parametrize(
    "name",
    [
        *("../secret", "/etc/passwd", "", ".", "..", "secret", "20261122T045500Z-worker1-oom\n"),
        *("20261122T045500Z-worker1-../secret", "20261122T045500Z-worker1-oom/../../secret"),
        *("20261122T045500Z-worker9-oom", "20261122T045500Z-worker1-oom\0"),
    ],
)
def test_no_name_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    """Or to what is no report."""
    (tmp_path / "secret.json").write_text('{"a": 1}')
    (tmp_path / "secret.txt").write_text("a")
    box = _box(tmp_path / "reports")
    box.write(OOM)

    assert box.read(name) is None


def test_a_damaged_report_is_none(tmp_path: Path) -> None:
    """Somebody has edited it; the others can still be read."""
    box = _box(tmp_path)
    filed = box.write(OOM)
    assert filed.path is not None
    filed.path.with_suffix(".json").write_text("[1")

    assert box.read(filed.path.stem) is None
    assert len(box.reports()) == 1


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    """And nothing is removed that is no report."""
    (tmp_path / "20200101-mine.txt").write_text("mine")
    clock = Clock(NOW_SECONDS)
    box = _box(tmp_path, keep=3, clock=clock)
    for _ in range(5):
        box.write(OOM)
        clock.seconds += 60

    assert [each.time[14:16] for each in box.reports()] == ["59", "58", "57"]
    assert len(os.listdir(tmp_path)) == 3 * 2 + 1


def test_small_events_do_not_push_out_deaths(tmp_path: Path) -> None:
    """They may take half of the places."""
    clock = Clock(NOW_SECONDS)
    box = _box(tmp_path, keep=4, clock=clock)
    box.write(OOM)
    box.write(OOM)
    for number in range(6):
        clock.seconds += 10
        box.incident(_incident(f"GET /{number}"))

    causes = [each.cause for each in box.reports()]

    assert causes == ["memory-error", "memory-error", "oom", "oom"]


def test_nothing_half_written_is_left(tmp_path: Path, said: Said) -> None:
    """The text fits on the disk and the JSON does not: both go, and the text is in the log."""
    box = _box(tmp_path)
    for each in burst():
        box.note(each)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * KIB, hard))
    try:
        filed = box.write(OOM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert filed.path is None
    assert os.listdir(tmp_path) == []
    assert "File too large" in said()
    assert "because of GET /export" in said()


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    """In a directory that others can write to, nothing of ours is overwritten for them."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / f".tonnage-{os.getpid()}.tmp").symlink_to(victim)
    box = _box(reports)

    assert box.write(OOM).path is None
    assert victim.read_text() == "precious"
    # The link was removed, so the next report is written.
    assert box.write(OOM).path is not None


def test_what_cannot_be_written_goes_to_the_log(tmp_path: Path, said: Said) -> None:
    """The directory's fault is told once; the report itself each time."""
    (tmp_path / "file").touch()
    box = _box(tmp_path / "file" / "reports")

    filed = [box.write(OOM), box.write(died(kernel_kills=1))]

    assert [each.path for each in filed] == [None, None]
    assert said().count("no report can be written to") == 1
    assert "because of GET /export" in said()
    assert "with no request in flight" in said()
    assert box.reports() == []


def test_without_a_directory_reports_go_to_the_log(said: Said) -> None:
    """And there are none to be listed or read."""
    box = _box(None)

    assert box.write(OOM).path is None
    assert "What to do" in said()
    assert box.reports() == []
    assert box.read("20261122T045500Z-worker1-oom") is None


def test_a_report_that_cannot_be_made_is_no_second_accident(tmp_path: Path, said: Said) -> None:
    """Facts that make no sense, here the status of a process that has only been stopped."""
    filed = _box(tmp_path).write(died(wait_status=0x137F))

    assert filed.path is None
    assert "no report can be made on the end of worker 1" in said()


def test_a_report_needs_little_memory(tmp_path: Path) -> None:
    """It is made when there is least of it."""
    box = BlackBox(tmp_path, 5, clock=Clock(NOW_SECONDS), wall_clock=lambda: AT_SECONDS, slots=4)
    for number in range(MOST_SAMPLES):
        box.note(sample(90 + number / 50, 100, 1, 2, 3, 4))
    many = flights(*[request(age=number) for number in range(64)])
    box.write(died(in_flight=many))

    tracemalloc.start()
    box.write(died(in_flight=many))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 512 * KIB


# Incidents.


def test_a_burst_of_incidents_is_one_report_a_minute(tmp_path: Path) -> None:
    """The next one says how many there were between."""
    clock = Clock(NOW_SECONDS)
    box = _box(tmp_path, clock=clock)

    for _ in range(int(INCIDENT_SECONDS) + 1):
        box.incident(_incident())
        clock.seconds += 1.0

    texts = [(tmp_path / f"{each.name}.txt").read_text() for each in box.reports()]
    assert len(texts) == 2
    assert "59 more like it" in texts[0]


def test_each_route_has_its_own_report(tmp_path: Path) -> None:
    """One that fails all the time does not hide another."""
    box = _box(tmp_path)

    filed = [box.incident(_incident(route)) for route in ("GET /a", "GET /b", "GET /a")]

    assert [each is not None for each in filed] == [True, True, False]
    assert {each.cause for each in box.reports()} == {"memory-error"}


def test_a_flood_of_routes_is_bounded(tmp_path: Path) -> None:
    """However many paths somebody invents; after a minute there is room again."""
    clock = Clock(NOW_SECONDS)
    box = _box(tmp_path, keep=100, clock=clock)

    for number in range(5 * MOST_INCIDENT_ROUTES):
        box.incident(_incident(f"GET /{number}"))

    assert len(box.reports()) == MOST_INCIDENT_ROUTES
    clock.seconds += INCIDENT_SECONDS
    assert box.incident(_incident("GET /new")) is not None
