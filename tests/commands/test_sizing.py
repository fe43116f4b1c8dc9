"""`tonnage plan TARGET --observed`: from what is kept to what is printed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.ops.sizing.histories import APP, MONDAY, a_history, a_row, week

from tonnage.cli.main import main
from tonnage.commands.sizing import parse_margin, show_observed
from tonnage.config import load_settings
from tonnage.errors import ConfigError, UsageError
from tonnage.ops.sizing.advice import parts_for
from tonnage.ops.sizing.book import Book
from tonnage.ops.sizing.places import file_name
from tonnage.ops.sizing.record import DAY_SECONDS, History
from tonnage.ops.sizing.start import tell
from tonnage.settings import Settings
from tonnage.units import MIB


def settings_for(directory: Path, **flags: object) -> Settings:
    """Settings as the command line makes them, for an application in *directory*."""
    given = {"target": "main:app", "state_dir": str(directory / "state"), **flags}
    return load_settings(given, {}, directory)


def keep(directory: Path, history: History) -> None:
    """Have a server have kept *history*."""
    book = Book.open(directory / "state", file_name("main:app", directory))
    book.write(history)
    book.settle()
    book.close()


def shown(directory: Path, history: History, **flags: object) -> str:
    """What is printed of *history*, on the day after."""
    keep(directory, history)
    out = io.StringIO()
    status = show_observed(
        settings_for(directory, **flags),
        None,
        False,
        out,
        environ={},
        wall_clock=lambda: float(history.written_seconds),
    )
    assert status == 0
    return out.getvalue()


def test_it_names_the_limit_the_margin_and_how_sure_that_is(tmp_path: Path) -> None:
    """A week of 300 MB: 352 MB would do, and what the usual sizes would mean."""
    text = shown(tmp_path, week(*[300.0] * 7, in_flight=41, p99_mb=250))

    assert "main:app, observed for 7 days since 2026-11-" in text
    assert "with 2 workers, limit 512 MB" in text
    assert "A limit of 352 MB would do for 2 workers, with a margin of 10% above the peak." in text
    assert "How sure: a week or more was observed." in text
    assert "Peak 300 MB of 512 MB (59%)" in text
    assert "41 requests at once" in text
    assert "  workers own          228 MB" in text
    assert "  used                 300 MB     250 MB     300 MB" in text
    assert "    256 MB        too small" in text
    assert "    512 MB (now)  fits " in text
    assert "warning" not in text


def test_doubts_are_warnings(tmp_path: Path) -> None:
    """A day with refusals says so."""
    text = shown(tmp_path, a_history([a_row(MONDAY, 300, seconds=7200, refused=4)]))
    assert "observed for 2 h" in text
    assert "warning: fewer than 24 hours were observed" in text
    assert "warning: 4 requests were refused" in text
    assert "A limit of 512 MB would do" in text


def test_another_limit_and_other_workers_are_kept_apart(tmp_path: Path) -> None:
    """The newest counts; 900 MB with two workers do not make 512 MB with one tight."""
    old = [a_row(MONDAY + at * DAY_SECONDS, 900, limit_mb=1024) for at in range(2)]
    new = [a_row(MONDAY + at * DAY_SECONDS, 200, workers=1) for at in range(1, 8)]
    text = shown(tmp_path, a_history([old[0], old[1], *new]))

    assert "observed for 7 days since" in text
    assert "with 1 worker, limit 512 MB" in text
    assert "    512 MB (now)  fits " in text
    assert "Not counted: 2 days since" in text
    assert "with 2 workers, peak 900 MB of 1 GB (88%)." in text


def test_instances_with_other_limits_are_kept_apart(tmp_path: Path) -> None:
    """Each has a file; the one that was written last says which limit counts."""
    small, large = a_history([a_row(MONDAY, 200)]), a_history([a_row(MONDAY, 900, limit_mb=1024)])
    name = file_name("main:app", tmp_path)
    books = [Book.open(tmp_path / "state", name) for _ in range(2)]
    books[0].write(replace(small, written_seconds=small.written_seconds + 60))
    books[1].write(large)
    for book in books:
        book.close()

    out = io.StringIO()
    show_observed(settings_for(tmp_path), None, True, out, wall_clock=lambda: MONDAY + 0.5)
    data = json.loads(out.getvalue())

    assert data["observed"]["peak_bytes"] == 200 * MIB
    assert [row["peak_bytes"] // MIB for row in data["not_counted"]] == [900]


def test_json_has_all_of_it_in_bytes(tmp_path: Path) -> None:
    """For a program: what was observed, what is advised, and each size."""
    keep(tmp_path, week(*[300.0] * 7))
    out = io.StringIO()
    show_observed(settings_for(tmp_path), "25%", True, out, wall_clock=lambda: MONDAY + 0.5)
    data = json.loads(out.getvalue())

    assert data["observed"]["peak_bytes"] == 300 * MIB
    assert data["observed"]["seconds"] == 7 * DAY_SECONDS
    assert data["advice"]["margin"] == 0.25
    assert data["advice"]["limit_bytes"] == 400 * MIB
    assert [size["limit_bytes"] // MIB for size in data["advice"]["sizes"]] == [
        *(256, 512, 1024, 2048)
    ]


def test_the_plan_of_another_limit_is_that_of_these_settings(tmp_path: Path) -> None:
    """EXHAUSTED at 92 % takes more of any limit; threads and the measured app count."""
    usual = parts_for(settings_for(tmp_path), APP)(512 * MIB)
    early = parts_for(settings_for(tmp_path, exhausted_at="92%"), APP)(512 * MIB)
    assert early.reserve_bytes > usual.reserve_bytes
    assert usual.worker_bytes == 9 * MIB


def test_nothing_was_observed(tmp_path: Path) -> None:
    """It says where it has looked, what is there, and what to do."""
    with pytest.raises(
        UsageError, match=r"nothing was observed of main:app in .* no file of it; a"
    ):
        show_observed(settings_for(tmp_path), None, False, io.StringIO())
    keep(tmp_path, week(200))
    with pytest.raises(UsageError, match="there is something on main_app;"):
        show_observed(settings_for(tmp_path, target="other:app"), None, False, io.StringIO())
    with pytest.raises(UsageError, match="name the application"):
        show_observed(settings_for(tmp_path, target=None), None, False, io.StringIO())


def test_without_a_home_there_is_no_place(tmp_path: Path) -> None:
    """Nor where no directory was named."""
    settings = settings_for(tmp_path, state_dir=None)
    with pytest.raises(UsageError, match="no state directory"):
        show_observed(settings, None, False, io.StringIO(), environ={})


@pytest.mark.parametrize("text", ["10", "ten%", "-1%", "nan%", "10%%", "", "1001%"])
def test_a_margin_is_a_percentage(text: str) -> None:
    """Anything else is told with what to write."""
    with pytest.raises(ConfigError, match=r"--margin: .* write for example 10%"):
        parse_margin(text)


def test_the_command_line_leads_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The application is not imported: there is none."""
    keep(tmp_path, week(200))
    words = ["plan", "main:app", "--observed", "--margin", "0%"]
    words += ["--state-dir", str(tmp_path / "state"), "--app-dir", str(tmp_path)]
    assert main(words) == 0
    assert "with a margin of 0% above the peak" in capsys.readouterr().out
    assert main(["plan", "--margin", "5%"]) == 2
    assert "--margin goes with --observed" in capsys.readouterr().err


def test_the_log_has_a_line_with_figures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is told once a day: peak, p99, what happened, and which limit would do."""
    row = a_row(MONDAY, 412, 371, in_flight=41, kernel_kills=0)
    with caplog.at_level("INFO"):
        tell(settings_for(tmp_path), a_history([row]), row)
    (record,) = caplog.records
    assert record.message == (
        "observed 24 h: peak 412 MB of 512 MB (80%) on 2026-11-16 00:01 UTC, p99 371 MB, 41"
        " requests at once, 0 waited for memory, 0 refused, 0 workers recycled, 0 kernel kills; a"
        " limit of 480 MB would do with a margin of 10%"
    )
    fields: dict[str, object] = record.__dict__["fields"]
    assert fields["peak_mb"] == 412.0
    assert fields["would_do_mb"] == 480.0
    assert fields["observed_seconds"] == DAY_SECONDS


def test_nothing_is_told_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no look has succeeded there is no limit either."""
    row = a_row(MONDAY, 0, limit_mb=0)
    tell(settings_for(tmp_path), a_history([row]), row)
    assert not caplog.records
