"""How a job ended, told from what is known."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tonnage.jobs.call import Call
from tonnage.jobs.decisions import Refusal
from tonnage.jobs.messages import Over
from tonnage.server.jobs.ends import End, judge, why_refused
from tonnage.units import MIB

CALL = Call("shop:cut", 100 * MIB, timeout_seconds=30, wait_seconds=10)


def judged(**facts: Any) -> End:
    """Return the end with these facts."""
    known: dict[str, Any] = {"killed": "", "said": None, "status": None, "is_kernels": False}
    return judge(CALL, **known | facts, limit_bytes=512 * MIB)


def test_what_the_process_has_said_counts() -> None:
    """Whatever its status then is."""
    said = Over("memory", "it needed more", peak_bytes=1, is_idle=False)
    assert judged(said=said, status=0) == End("memory", "it needed more")


def test_what_we_did_ourselves_comes_first() -> None:
    """It may have said something at the same moment."""
    said = Over("done", "", peak_bytes=1, is_idle=False)
    end = judged(killed="deadline", said=said, status=signal.SIGKILL)
    assert end == End("deadline", "shop:cut took longer than 30 s and was ended")


@pytest.mark.parametrize("why", ["cancelled", "stopping"])
def test_a_job_that_was_ended_says_why(why: str) -> None:
    """In words."""
    end = judged(killed=why, status=signal.SIGKILL)
    assert end.how == why
    assert end.text.startswith("shop:cut was ended: ")


def test_a_kill_that_the_kernel_has_counted_is_the_kernels() -> None:
    """With the figures that explain it."""
    end = judged(status=signal.SIGKILL, is_kernels=True)
    assert end.how == "kernel"
    assert "it may hold 100 MB, and the limit for all is 512 MB" in end.text
    assert judged(status=signal.SIGSEGV, is_kernels=True).how == "signal"


def test_a_signal_is_named() -> None:
    """Also one without a name."""
    assert judged(status=signal.SIGSEGV) == End(
        "signal", "the process of shop:cut was ended by SIGSEGV"
    )
    assert judged(status=40).text.endswith("signal 40")


def test_a_status_without_a_word_is_an_exit() -> None:
    """As by os._exit."""
    assert judged(status=7 << 8) == End("exit", "the process of shop:cut ended with status 7")


def test_a_process_that_never_was_is_one_too() -> None:
    """Nothing was heard of it."""
    assert judged() == End("exit", "the process of shop:cut could not begin")


def test_a_job_that_held_too_much_is_told_what() -> None:
    """It may not be its own memory."""
    end = judged(killed="memory", held="1 MB of its own and 200 MB of shared memory")
    assert end.how == "memory"
    assert "it held 1 MB of its own and 200 MB of shared memory, more than the 100 MB" in end.text


@pytest.mark.parametrize(
    ("reason", "waits_for_memory", "text"),
    [
        (Refusal.QUEUE, False, "shop:cut was refused: as many jobs wait as may, see --job-queue"),
        (Refusal.WAIT, True, "shop:cut has not found its memory free within 10 s"),
        (Refusal.WAIT, False, "shop:cut has not had its turn within 10 s, see --job-slots"),
    ],
)
def test_a_refusal_says_what_to_change(reason: Refusal, waits_for_memory: bool, text: str) -> None:
    """Room in the line, memory, or places: each is another setting."""
    assert why_refused(CALL, reason, waits_for_memory) == text
