"""Cause and culprit of a worker's end, and how they are told."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import Any

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

from tonnage.logs.texts import MAX_TEXT_CHARS
from tonnage.server.postmortem.advice import advice
from tonnage.server.postmortem.cause import Cause, Sureness, growth_of, judge, suspect
from tonnage.server.postmortem.facts import Death, Incident, Kill, KillReason, Program
from tonnage.server.postmortem.report import of_death, of_incident
from tonnage.server.postmortem.text import as_text
from tonnage.server.samples import MOST_SHOWN, Sample
from tonnage.units import MIB

CALM = [sample(99.0, 300, 20, 20, 20), sample(100.0, 300, 20, 20, 20)]
BRAKED = Kill(KillReason.BRAKE, grown_bytes=180 * MIB, grown_seconds=0.4, room_seconds=0.12)


def _text(death: Death) -> str:
    return as_text(of_death(death, burst(), now_seconds=NOW_SECONDS, at_seconds=AT_SECONDS))


@pytest.mark.parametrize(
    ("death", "cause", "text"),
    [
        (died(kernel_kills=1), Cause.OOM, "was killed by the kernel for want of memory"),
        (
            died(kill=BRAKED),
            Cause.BRAKE,
            "was braked: it grew by 180 MB in 0.4 s and free memory would have run out in 120 ms",
        ),
        (
            died(kill=Kill(KillReason.OVERDUE_START), failure="it was not ready within 60 s"),
            Cause.NOT_STARTED,
            "was ended: it was not ready within 60 s",
        ),
        (
            died(kill=Kill(KillReason.STOP_DEADLINE)),
            Cause.DEADLINE,
            "was ended: it had not finished when its time to stop was up",
        ),
        (
            died(kill=Kill(KillReason.RECYCLE_DEADLINE)),
            Cause.DEADLINE,
            "was ended: it had not finished when its time to be replaced was up",
        ),
        (
            died(),
            Cause.SIGNAL,
            "was killed by SIGKILL from outside (the kernel's counter did not move)",
        ),
        (died(wait_status=int(signal.SIGSEGV)), Cause.CRASH, "crashed with SIGSEGV"),
        # 0x80: it left a core dump.
        (died(wait_status=signal.SIGBUS | 0x80), Cause.CRASH, "crashed with SIGBUS"),
        (died(wait_status=int(signal.SIGABRT)), Cause.CRASH, "crashed with SIGABRT"),
        (
            died(wait_status=int(signal.SIGABRT), memory_errors=2),
            Cause.FAILED_ALLOCATION,
            "was ended by SIGABRT after allocations had failed: native code that cannot handle "
            "that",
        ),
        (
            died(wait_status=int(signal.SIGSEGV), memory_errors=1),
            Cause.FAILED_ALLOCATION,
            "crashed with SIGSEGV after allocations had failed: native code that cannot handle "
            "that",
        ),
        (
            died(wait_status=int(signal.SIGTERM)),
            Cause.SIGNAL,
            "was ended by SIGTERM from outside",
        ),
        (died(wait_status=40), Cause.SIGNAL, "was ended by signal 40 from outside"),
        (died(wait_status=1 << 8), Cause.EXIT, "ended with status 1"),
        (
            died(wait_status=3 << 8, failure="No module named 'shop'"),
            Cause.NOT_STARTED,
            "did not start: No module named 'shop'",
        ),
        (died(wait_status=None, pid=None), Cause.NOT_STARTED, "ended before it began"),
    ],
)
def test_the_cause_is_told_from_the_facts(death: Death, cause: Cause, text: str) -> None:
    """Kernel, brake, deadlines, crashes, exits and others' signals are told apart."""
    verdict = judge(death, CALM)

    assert (verdict.cause, verdict.text) == (cause, text)


def test_two_kills_at_once_leave_a_doubt() -> None:
    """Where the kernel counted one as well, the brake's was perhaps the second."""
    verdict = judge(died(kill=BRAKED, kernel_kills=1), CALM)

    assert (verdict.cause, verdict.sureness) == (Cause.BRAKE, Sureness.LIKELY)
    assert "may have come first" in verdict.evidence[0]


# Memory was short 0.5 s ago, and is not now.
EASED = [*burst(), sample(100.2, 100, 20, 20, 20), sample(100.5, 100, 20, 20, 20)]


@pytest.mark.parametrize(
    ("ago", "rivals", "samples", "cause", "sureness"),
    [
        (0.0, 0, CALM, Cause.OOM, Sureness.CERTAIN),
        # A program had ended as well, and only one was counted.
        (0.0, 1, burst(), Cause.OOM, Sureness.LIKELY),
        (0.1, 0, EASED, Cause.OOM, Sureness.CERTAIN),
        (0.1, 0, CALM, Cause.OOM, Sureness.LIKELY),
        (0.1, 1, EASED, Cause.OOM, Sureness.LIKELY),
        (0.1, 1, CALM, Cause.SIGNAL, Sureness.LIKELY),
        # Whom the kernel kills is heard of sooner.
        (0.3, 0, EASED, Cause.SIGNAL, Sureness.LIKELY),
        (0.3, 0, burst(), Cause.OOM, Sureness.LIKELY),
    ],
)
def test_what_the_kernel_has_counted_need_not_be_this_death(
    ago: float, rivals: int, samples: list[Sample], cause: Cause, sureness: Sureness
) -> None:
    """It tells no names: who else was gone, when, and what was free decide."""
    death = died(kernel_kills=1, kills_seconds=ago, rivals=rivals)

    verdict = judge(death, samples)

    assert (verdict.cause, verdict.sureness) == (cause, sureness)
    assert "rose by 1" in verdict.evidence[0]


@pytest.mark.parametrize(("rivals", "sureness"), [(0, Sureness.LIKELY), (2, Sureness.GUESS)])
def test_a_program_that_the_kernel_has_killed_is_never_certain(
    rivals: int, sureness: Sureness
) -> None:
    """It was gone when the counter had moved, as may be others."""
    death = died(kernel_kills=1, program=Program(5000, "convert"), rivals=rivals)

    verdict = judge(death, CALM)

    assert (verdict.cause, verdict.sureness) == (Cause.OOM, sureness)


@pytest.mark.parametrize(
    ("samples", "cause", "sureness"),
    [(CALM, Cause.SIGNAL, Sureness.LIKELY), (burst(), Cause.OOM, Sureness.LIKELY)],
)
def test_without_a_counter_free_memory_decides(
    samples: list[object], cause: Cause, sureness: Sureness
) -> None:
    """Nearly none was free: then it was the kernel, in all likelihood."""
    verdict = judge(died(kernel_kills=None), samples)  # type: ignore[arg-type]

    assert (verdict.cause, verdict.sureness) == (cause, sureness)


def test_a_kill_from_outside_with_no_memory_left_is_doubted() -> None:
    """A surrounding machine's kernel does not move our counter."""
    assert judge(died(), CALM).sureness is Sureness.CERTAIN
    assert judge(died(), burst()).sureness is Sureness.LIKELY


def test_the_running_request_is_the_culprit() -> None:
    """Also if others are newer and larger than expected, by less than measuring tells."""
    running = request("/parse", running=True, grown_mb=30, expected_mb=8)
    death = died(kernel_kills=1, in_flight=flights(request(age=0.1), running))

    found = suspect(death, judge(death, CALM))

    assert found is not None
    assert (found.request, found.sureness) == (running, Sureness.CERTAIN)


def test_without_a_sample_nothing_is_said_of_free_memory() -> None:
    """A worker that dies before the first look: its death is what the signal says."""
    verdict = judge(died(kernel_kills=None), [])

    assert (verdict.cause, verdict.sureness) == (Cause.SIGNAL, Sureness.LIKELY)


def test_another_that_took_more_leaves_a_doubt() -> None:
    """The signs do not agree, so it is likely and not certain."""
    running = request("/parse", running=True, grown_mb=1)
    large = request("/export", grown_mb=300, expected_mb=8)
    death = died(kernel_kills=1, in_flight=flights(large, running))

    found = suspect(death, judge(death, CALM))

    assert found is not None
    assert (found.request, found.sureness) == (running, Sureness.LIKELY)


def test_without_a_running_one_growth_beyond_expectation_tells() -> None:
    """What a large route takes as ever is no sign."""
    large = request("/report", grown_mb=100, expected_mb=100)
    guilty = request("/export", grown_mb=60, expected_mb=8)
    death = died(kill=BRAKED, in_flight=flights(large, guilty, request(age=0.01)))

    found = suspect(death, judge(death, CALM))

    assert found is not None
    assert (found.request, found.sureness) == (guilty, Sureness.LIKELY)


def test_without_any_sign_the_newest_is_a_guess() -> None:
    """And the text says that it is one."""
    newest = request("/b", age=0.1)
    death = died(kernel_kills=1, in_flight=flights(request("/a", age=5.0), newest))

    found = suspect(death, judge(death, CALM))

    assert found is not None
    assert (found.request, found.sureness) == (newest, Sureness.GUESS)
    assert "perhaps because of GET /b" in _text(death)


def test_one_alone_is_likely_unless_there_were_more_than_the_table_holds() -> None:
    """With others unseen, it is a guess again."""
    alone = died(kernel_kills=1, in_flight=flights(request()))
    crowded = died(kernel_kills=1, in_flight=flights(request(), beyond=9))

    sureness = [suspect(death, judge(death, CALM)) for death in (alone, crowded)]

    assert [each and each.sureness for each in sureness] == [Sureness.LIKELY, Sureness.GUESS]


def test_a_deadline_is_put_down_to_the_oldest() -> None:
    """The one that was waited for."""
    oldest = request("/slow", age=31.0)
    death = died(
        kill=Kill(KillReason.STOP_DEADLINE),
        in_flight=flights(oldest, request("/quick", age=0.1, running=True)),
    )

    assert "with GET /slow still in flight" in _text(death).partition("\n")[0]


@pytest.mark.parametrize(
    "death",
    [
        died(in_flight=flights(request(running=True))),
        died(wait_status=int(signal.SIGTERM), in_flight=flights(request(running=True))),
        died(wait_status=3 << 8, failure="no", in_flight=flights(request(running=True))),
        died(kernel_kills=1),
    ],
)
def test_nobody_is_blamed_without_reason(death: Death) -> None:
    """For a signal from outside, a failed start, or where nothing was in flight."""
    assert suspect(death, judge(death, CALM)) is None


def test_growth_is_that_of_the_last_second() -> None:
    """What came before does not thin it out; samples of a predecessor do not count."""
    growth = growth_of([sample(80.0, 90, 20, 0), *burst()], 1)

    assert growth.seconds == pytest.approx(1.0)
    assert growth.bytes_per_second == pytest.approx(400 * MIB, rel=0.01)
    assert growth_of(CALM, 7).bytes_per_second == 0


def test_the_first_line_has_it_all() -> None:
    """When, which worker, what, and because of which request."""
    death = died(kernel_kills=1, in_flight=flights(request(running=True, grown_mb=402)))

    assert _text(death).partition("\n")[0] == (
        "2026-11-22 04:55:00 UTC: worker 1 was killed by the kernel for want of memory, "
        "because of GET /export"
    )


def test_the_text_shows_memory_worker_requests_and_others() -> None:
    """Each with its figures, in lines that fit a terminal."""
    text = _text(
        died(
            kernel_kills=1,
            memory_errors=2,
            in_flight=flights(request(running=True, grown_mb=402, expected_mb=8), beyond=3),
        )
    )

    assert "limit 512 MB, used 510 MB (100 %)" in text
    assert "worker 1: 420 MB private; in its last 1.0 s +400 MB, +400 MB/s" in text
    assert "pid 4711, 3 h 12 min old, 45120 requests" in text
    assert "fuse: 400 MB of data (RLIMIT_DATA); requests that ran out of memory in it: 2" in text
    assert "402 MB" in text
    assert "203.0.113.7" in text
    assert "and 3 more" in text
    assert [line for line in text.splitlines() if line.split()[:2] == ["2", "4712"]]
    assert max(map(len, text.splitlines())) <= 120


def test_the_table_of_memory_ends_with_the_newest_sample() -> None:
    """And is a dozen lines at most, however many samples there are."""
    table = [line for line in _text(died()).splitlines() if line.endswith("]")]

    assert table[-1].split() == [
        *("0", "ms", "510", "MB", "2", "MB", "420", "MB"),
        "[####################]",
    ]
    assert len(table) <= 12


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A path, an address or an error may hold anything a client has sent."""
    nasty = request("/a\x1b[2J\n\u202eb\udc80", running=True, client="\x07")

    text = _text(died(wait_status=3 << 8, failure="\x1b[31m" + "x" * 900, in_flight=flights(nasty)))

    assert text.replace("\n", "").isprintable()
    assert r"/a\x1b[2J\n\u202eb\udc80" in text


def test_the_longest_text_fits_into_the_log() -> None:
    """Where it goes if it cannot be written."""
    many = flights(*[request("/" + "x" * 95, age=n, running=True) for n in range(64)], beyond=99)
    death = died(kernel_kills=1, statistics=statistics(64), in_flight=many)

    assert len(_text(death)) < MAX_TEXT_CHARS


def test_the_dict_has_the_same_facts_with_units() -> None:
    """And is plain enough for JSON."""
    death = died(kernel_kills=1, in_flight=flights(request(running=True, grown_mb=402)))
    report = of_death(death, burst(), now_seconds=NOW_SECONDS, at_seconds=AT_SECONDS)

    read = json.loads(json.dumps(report))

    assert read == report
    assert read["time"] == "2026-11-22T04:55:00.000+00:00"
    assert read["cause"]["kind"] == "oom"
    assert read["culprit"]["grown_bytes"] == 402 * MIB
    assert read["worker"]["signal"] == signal.SIGKILL
    assert read["memory"]["worker_grown_bytes_per_second"] == 400 * MIB
    assert read["memory"]["samples"]["private_bytes"]["1"][-1] == 420 * MIB
    assert len(read["memory"]["samples"]["used_bytes"]) == len(burst()) <= MOST_SHOWN
    assert [each["index"] for each in read["other_workers"]] == [0, 2]


def test_a_report_can_be_made_of_nothing() -> None:
    """A worker that ended before it wrote its slot, before the first sample."""
    death = died(worker=7, pid=None, wait_status=None)

    report = of_death(death, [], now_seconds=NOW_SECONDS, at_seconds=AT_SECONDS)

    assert report["culprit"] is None
    assert "worker 7 ended before it began\n" in as_text(report)


@pytest.mark.parametrize(
    ("answered", "how"),
    [(503, "answered 503"), (None, "its connection was cut"), (0, "its connection was cut")],
)
def test_an_incident_says_that_the_worker_went_on(answered: int | None, how: str) -> None:
    """With the line where memory ran out, and how many more there were."""
    incident = Incident(
        worker=0,
        pid=4710,
        statistics=statistics(),
        route="GET /export/{}",
        line="app.py:12 in export",
        grown_bytes=300 * MIB,
        answered=answered,
    )

    report = of_incident(
        incident, burst(), now_seconds=NOW_SECONDS, at_seconds=AT_SECONDS, held_back=12
    )
    text = as_text(report)

    assert report["summary"] == (
        f"GET /export/{{}} ran out of memory at app.py:12 in export, {how}; worker 0 went on"
    )
    assert "taken 300 MB" in text
    assert "12 more like it since the last report on this route" in text


@pytest.mark.parametrize("cause", [Cause.OOM, Cause.CRASH, Cause.SIGNAL])
def test_an_isolated_job_has_advice_of_its_own(cause: Cause) -> None:
    """It has a limit already, and memory= is what can be said of it."""
    hints = " ".join(advice(cause, None, of_program=True, of_job=True))
    assert hints != " ".join(advice(cause, None, of_program=True))
    assert "prlimit" not in hints
    assert "tonnage run" not in hints


@pytest.mark.parametrize("cause", list(Cause))
def test_each_cause_has_advice(cause: Cause) -> None:
    """Two or three hints, which name the request."""
    hints = advice(cause, "GET /users/{}")

    assert 2 <= len(hints) <= 3
    assert "{route}" not in "".join(hints)
    assert not any("/users" in hint for hint in advice(cause, None))


def _report(death: Death, samples: list[Sample]) -> dict[str, Any]:
    return of_death(death, samples, now_seconds=NOW_SECONDS, at_seconds=AT_SECONDS)


# Worker 1 took the place of a large one 2 s ago, grew to 440 MB, was stopped and is gone.
ENDED = [
    sample(97.0, 460, 20, 400, 20),
    sample(98.5, 90, 20, 20, 20),
    sample(99.3, 450, 20, 380, 20),
    sample(99.5, 510, 20, 440, 20),
    sample(99.9, 510, 20, 440, 20),
    sample(100.0, 400, 20, 0, 20),
]
HELD = Kill(
    KillReason.BRAKE, grown_bytes=420 * MIB, grown_seconds=0.9, room_seconds=0.1, memory="private"
)


def test_a_braked_worker_is_told_as_it_was_while_it_lived() -> None:
    """What it held last, and one growth throughout: until it was stopped."""
    death = died(age_seconds=2.0, kill=HELD, in_flight=flights(request(age=1.5, running=True)))
    report = _report(death, ENDED)
    text = as_text(report)

    assert "was braked: it grew by 420 MB of private memory in 0.9 s" in report["summary"]
    assert "worker 1: 440 MB private at its end; it had grown by 420 MB of private memory" in text
    assert report["memory"]["worker_private_bytes"] == 440 * MIB
    assert report["memory"]["worker_grown_bytes"] == 420 * MIB
    assert "in its last" not in text
    assert max(map(len, text.splitlines()[1:])) <= 120


def test_who_was_in_its_place_before_is_not_shown() -> None:
    """Nor what it holds when it has ended."""
    report = _report(died(age_seconds=2.0, kill=HELD), ENDED)

    assert report["memory"]["samples"]["private_bytes"]["1"][0] == 0
    rows = [line.split() for line in as_text(report).splitlines() if line.endswith("]")]
    assert [row[6] for row in rows] == ["-", "20", "380", "440", "440", "-"]


def test_what_a_running_request_has_taken_is_not_said_to_be_nothing() -> None:
    """Its first step is measured when it ends; its worker's growth is known."""
    death = died(
        age_seconds=2.0,
        kernel_kills=1,
        in_flight=flights(request(age=1.5, running=True, expected_mb=8)),
    )
    report = _report(death, ENDED)
    text = as_text(report)

    assert "its worker grew by 420 MB of private memory meanwhile" in " ".join(text.split())
    assert report["culprit"]["worker_grown_bytes"] == 420 * MIB
    assert "taken 0 B" not in text
    (row,) = [line for line in text.splitlines()[1:] if line.endswith("GET /export")]
    assert row.split()[:3] == ["1.5", "s", "-"]


def test_growth_in_shared_memory_is_called_so() -> None:
    """The table has private memory, which stayed as it was."""
    kill = replace(HELD, grown_bytes=300 * MIB, memory="shared")
    flat = [sample(at, 510, 20, 22, 20) for at in (98.5, 99.5, 99.9)]
    death = died(age_seconds=2.0, kill=kill, in_flight=flights(request(age=1.5, running=True)))
    report = _report(death, flat)

    assert "grew by 300 MB of shared memory in 0.9 s" in report["summary"]
    assert "its worker grew by 300 MB of shared memory meanwhile" in " ".join(
        as_text(report).split()
    )
    hints = " ".join(report["what_to_do"])
    assert "Set --worker-memory" not in hints
    assert "Neither the fuse nor --worker-memory counts shared memory" in hints


@pytest.mark.parametrize(("limit_mb", "hint"), [(400, "Set --worker-memory"), (0, "--no-fuse")])
def test_without_a_fuse_no_limit_of_a_worker_is_advised(limit_mb: int, hint: str) -> None:
    """It would have no effect."""
    report = _report(died(kill=HELD, data_limit_bytes=limit_mb * MIB), ENDED)

    assert hint in report["what_to_do"][1]


def test_a_stranger_may_be_what_the_kernel_has_killed() -> None:
    """It held more than the worker: a SIGKILL a moment later may be anybody's."""
    samples = [sample(99.0, 90, 20, 20), sample(99.8, 510, 20, 20), sample(100.0, 90, 20, 20)]
    verdict = judge(died(kernel_kills=1, kills_seconds=0.2), samples)

    assert (verdict.cause, verdict.sureness) == (Cause.OOM, Sureness.LIKELY)
    assert "probably by the kernel" in verdict.text
    assert "may be what was killed" in verdict.evidence[-1]


@pytest.mark.parametrize(
    ("worker", "begin"),
    [(1, "a process forked by worker 1 (pid 5000) was braked"), (None, "a process forked by a w")],
)
def test_a_forked_process_is_not_taken_for_the_worker(worker: int | None, begin: str) -> None:
    """It bears the worker's name."""
    death = died(worker=worker, kill=BRAKED, program=Program(5000, "tonnage-w1"))

    assert _report(death, ENDED)["summary"].startswith(begin)


def _incident(**facts: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "worker": 0,
        "pid": 4710,
        "statistics": statistics(),
        "route": "GET /export",
    }
    incident = Incident(**(known | facts))
    return of_incident(incident, burst(), now_seconds=NOW_SECONDS, at_seconds=AT_SECONDS)


def test_what_was_free_before_it_was_measured_is_not_told_as_taken() -> None:
    """The request had needed more than all that was left, and that is known."""
    report = _incident(grown_bytes=3 * MIB, left_bytes=440 * MIB, was_freed=True)
    text = " ".join(as_text(report).split())

    assert "it needed more than the 440 MB that its worker had left" in text
    assert "taken 3" not in text


@pytest.mark.parametrize(("workers", "left_mb", "few"), [(3, 120, 1), (1, 120, 0), (3, 400, 0)])
def test_where_the_others_had_the_memory_fewer_workers_are_advised(
    workers: int, left_mb: int, few: int
) -> None:
    """Not to take less; and a --worker-memory that need not be set is only mentioned."""
    hints = _incident(statistics=statistics(workers), left_bytes=left_mb * MIB)["what_to_do"]

    assert sum("run fewer (--workers)" in hint for hint in hints) == few
    assert sum("take less at once" in hint for hint in hints) == 1 - few
    assert "where that is set" in hints[1]
