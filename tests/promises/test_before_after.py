"""A small application in too little memory, before and after: what `make before-after` measures.

The long form is ``python -m benchmarks beforeafter``; its parts have tests in tests/beforeafter.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from benchmarks import beforeafter
from benchmarks.beforeafter.scenario import read
from tests.support.cgroup import need_cgroup
from tests.support.server import ROOT

pytestmark = [pytest.mark.real, pytest.mark.timed]

SCENARIO = f"""
[load]
clients = 24
think_seconds = 0.02
seconds = 2.5
timeout_seconds = 10
[probe]
path = "/"
[naive]
command = "uvicorn app:app --app-dir {ROOT}/examples/hello --log-level warning --port {{port}}"
[tonnage]
command = "tonnage run app:app --app-dir {ROOT}/examples/hello --port {{port}}"
[values]
mb = [7, 8]
[[visit]]
name = "holds some"
[[visit.step]]
path = "/work?mb={{mb}}&ms=400"
[[visit.step]]
path = "/"
"""


def test_the_kernel_kills_before_and_not_after(tmp_path: Path) -> None:
    """24 clients who want 8 MB each, in 128 MB: the three ways, side by side."""
    need_cgroup()
    pytest.importorskip("fastapi")
    (tmp_path / "load.toml").write_text(SCENARIO)
    parser = argparse.ArgumentParser()
    beforeafter.add_options(parser)
    chosen = parser.parse_args(["--runs", "1", "--limit", "128M", "--wide", "2G"])

    result = beforeafter.measure(read(tmp_path / "load.toml"), chosen)

    ways = result.details["ways"]
    wide, naive, ours = (ways[name]["runs"][0]["figures"] for name in ways)
    assert result.columns == ["", "as it was, 2 GB", "as it was, 128 MB", "on Tonnage, 128 MB"]
    assert wide["peak_bytes"] > 200 * 2**20
    assert (wide["kernel_kills"], wide["restarts"], wide["error_share"]) == (0, 0, 0)
    # Its only process is killed, and comes back a second and an import later.
    assert naive["kernel_kills"] == naive["restarts"] >= 1
    assert naive["silent_seconds"] > 0.5
    assert naive["error_share"] > 0
    assert (ours["kernel_kills"], ours["restarts"], ours["error_share"]) == (0, 0, 0)
    assert ours["peak_bytes"] < 128 * 2**20
    assert ours["peak_bytes"] <= ours["charged_bytes"]
    assert ours["up_share"] == ours["health_share"] == 1
    assert ["killed by the kernel", "0", str(int(naive["kernel_kills"])), "0"] in result.rows
