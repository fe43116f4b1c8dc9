"""Why a job has failed: what its client is told, and what the log has."""

from __future__ import annotations

import pytest

from tonnage.errors import JobEndedError, JobMemoryError
from tonnage.images.kit.reasons import reason_of


@pytest.mark.parametrize(
    ("error", "status", "level", "line"),
    [
        (
            MemoryError("there is no room for another thread"),
            503,
            "WARNING",
            "a picture was not made, since memory is short here: "
            "there is no room for another thread",
        ),
        (
            JobEndedError("cut_out has ended without a result (gone)"),
            500,
            "ERROR",
            "a picture was not made: cut_out has ended without a result (gone)",
        ),
        (
            JobMemoryError("it had 220 MB"),
            413,
            "WARNING",
            "a picture was not made: it had 220 MB",
        ),
    ],
)
def test_what_is_no_mistake_here_is_one_line(
    error: Exception, status: int, level: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where memory is short, or the job's process has ended: a traceback would tell nothing."""
    assert reason_of(error).status == status

    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), record.exc_info) == (level, line, None)


def test_a_mistake_has_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever made it has to find it."""
    assert reason_of(LookupError("no member")).status == 500

    (record,) = caplog.records
    assert record.exc_info is not None
