"""A store that waits for a job while its worker ends hears what becomes of that."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.server import Running

pytestmark = pytest.mark.real


def test_a_job_that_is_refused_meanwhile_is_said_to_be(tmp_path: Path) -> None:
    """At once, though the last request of the worker is over; else it would wait in vain."""
    notes = tmp_path / "notes"
    options = ("--memory", "900M", "--workers", "1", "--job-slots", "1")
    with Running("tests.jobs.closing_app:app", *options, env={"NOTES": str(notes)}):
        pass

    error, seconds = notes.read_text().split()
    assert error in ("JobTooLargeError", "JobBusyError")
    assert float(seconds) < 1.0
