"""What has become of jobs, counted."""

from __future__ import annotations

import pytest

from tonnage.governor.page import SharedPage
from tonnage.jobs.call import Call
from tonnage.server.jobs.ends import End
from tonnage.server.jobs.tally import Tally
from tonnage.units import MIB

CALL = Call("shop:cut", 100 * MIB, timeout_seconds=30, wait_seconds=10)


@pytest.fixture
def page() -> SharedPage:
    """Return a page of no workers."""
    return SharedPage(slots=0)


@pytest.mark.parametrize("how", ["cancelled", "stopping"])
def test_what_was_broken_off_says_nothing(page: SharedPage, how: str) -> None:
    """Neither of how jobs end, nor of how long they take."""
    tally = Tally(page)
    before = tally.mean_seconds
    tally.ended(CALL, 1, End(how), 0, 100.0)
    header = page.header
    assert header.jobs_done == header.jobs_failed == header.jobs_killed == 0
    assert tally.mean_seconds == before


def test_when_to_come_again_counts_from_the_first_free_slot(page: SharedPage) -> None:
    """A slot that is held for long is not said to be free in a second."""
    tally = Tally(page)
    tally.mean_seconds = 2.0
    assert tally.retry_after_seconds(waiting=3, slots=2, free_seconds=6.0) == 9.0


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("memory", "job shop:cut (pid 7) was ended for its memory after 0.50 s"),
        ("deadline", "job shop:cut (pid 7) was ended at its deadline after 0.50 s"),
        ("kernel", "job shop:cut (pid 7) was killed by the kernel after 0.50 s"),
    ],
)
def test_the_log_says_it_in_a_sentence(
    page: SharedPage, caplog: pytest.LogCaptureFixture, how: str, said: str
) -> None:
    """With what it held at most, and why."""
    Tally(page).ended(CALL, 7, End(how, "see memory="), 10 * MIB, 0.5)
    assert caplog.messages == [f"{said}, with a peak of 10 MB: see memory="]


def test_an_end_that_a_report_tells_of_is_not_logged_again(
    page: SharedPage, caplog: pytest.LogCaptureFixture
) -> None:
    """One event, one line."""
    tally = Tally(page)
    tally.ended(CALL, 1, End("signal"), 0, 1.0, is_logged=True)
    assert not caplog.records
    tally.ended(CALL, 1, End("signal"), 0, 1.0)
    assert len(caplog.records) == 1
