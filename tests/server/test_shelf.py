"""Where reports are kept: found fit at the start, and there whatever becomes of the server."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.descriptors import open_descriptors
from tests.support.server import run_to_end

from tonnage.errors import ConfigError
from tonnage.server.postmortem.blackbox import make_directory
from tonnage.server.postmortem.shelf import Shelf

# Writes a report and is killed in the same moment.
_KILLED = """
import os, signal, sys
from pathlib import Path
from tonnage.server.postmortem.shelf import Shelf

shelf = Shelf(Path(sys.argv[1]), 20, minor=frozenset())
shelf.put({"kept": True}, "what happened", at_seconds=1e9, worker=3, cause="oom")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_report_outlives_the_server(tmp_path: Path) -> None:
    """Which is killed right after: a report is the kernel's by then, though not yet the disk's."""
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)

    assert ended.returncode == -signal.SIGKILL
    shelf = Shelf(tmp_path, 20, minor=frozenset())
    (listed,) = shelf.listing()
    report = shelf.read(listed.name)
    assert report is not None
    assert (report["kept"], report["text"]) == (True, "what happened")


def test_a_report_on_a_program_names_no_worker(tmp_path: Path) -> None:
    """It is listed, read and removed like any other."""
    shelf = Shelf(tmp_path, 1, minor=frozenset())
    for second in range(2):
        shelf.put({}, "text", at_seconds=1e9 + second, worker=None, cause="brake")

    (listed,) = shelf.listing()

    assert listed.name == "20010909T014641Z-program-brake"
    assert (listed.worker, listed.cause) == (None, "brake")
    assert shelf.read(listed.name) is not None


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """With what leads there, and without a trace of having been tried; again it changes nothing."""
    path = tmp_path / "deep" / "reports"
    for _ in range(2):
        make_directory(path, "--report-dir")

    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert os.listdir(path) == []


@pytest.mark.parametrize(
    ("below", "why"), [("file", "it is not a directory"), ("file/reports", "Not a directory")]
)
def test_a_place_that_is_no_directory_is_refused(tmp_path: Path, below: str, why: str) -> None:
    """Before there is an accident to report; the message says what to do."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=f"^TONNAGE_REPORT_DIR: no report can .*: {why}; name a"):
        make_directory(tmp_path / below, "TONNAGE_REPORT_DIR")


def test_a_place_that_cannot_be_written_to_is_refused() -> None:
    """Root as well: nobody makes files in /proc."""
    with pytest.raises(ConfigError, match=r"no report can be written to /proc: .*leave it out"):
        make_directory(Path("/proc"), "--report-dir")


@pytest.mark.real
def test_a_server_does_not_start_where_it_could_not_report(tmp_path: Path) -> None:
    """One line, and exit status 2, as for any option without sense."""
    (tmp_path / "reports").touch()

    ended = run_to_end(
        "benchmarks.app:app", "--port", "0", "--report-dir", str(tmp_path / "reports")
    )

    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "--report-dir: no report can be written to " in line
    assert "it is not a directory" in line


def test_a_directory_of_a_reports_name_is_no_report(tmp_path: Path) -> None:
    """Nor does looking at it keep it open."""
    shelf = Shelf(tmp_path, 20, minor=frozenset())
    shelf.put({"kept": True}, "what happened", at_seconds=1e9, worker=3, cause="oom")
    (report,) = shelf.listing()
    (tmp_path / f"{report.name}.json").unlink()
    (tmp_path / f"{report.name}.json").mkdir()
    before = open_descriptors()

    assert shelf.read(report.name) is None
    assert open_descriptors() == before
