"""What ``tonnage jobs`` says of mistakes: one line, and exit status 2."""

from __future__ import annotations

import pytest

from tonnage.cli.main import main

URL = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("words", "url", "said"),
    [
        (["tests.jobs.queue.work"], None, "no task queue is named: set TONNAGE_JOBS"),
        ([], URL, "no module is named: write for example tonnage jobs main"),
        (["tests.jobs.queue.away"], URL, "there is no module tests.jobs.queue.away"),
        (["tests.away.work:app"], URL, "there is no module tests.away.work"),
        (["tests.jobs.queue.work"], "gopher://x", "TONNAGE_JOBS makes no sense"),
        (["--workers", "2", "x"], URL, "--workers"),
    ],
)
def test_mistakes_are_said_in_one_line(
    words: list[str],
    url: str | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is begun."""
    monkeypatch.delenv("TONNAGE_JOBS", raising=False)
    if url is not None:
        monkeypatch.setenv("TONNAGE_JOBS", url)
    assert main(["jobs", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_help_has_the_options_of_jobs_and_none_of_the_network(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the one table of options."""
    with pytest.raises(SystemExit):
        main(["jobs", "--help"])
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--job-slots", "--memory", "--log-level", "TONNAGE_JOBS"))
    assert "--port" not in shown
