"""The four reference backends together in 512 MB, while things go wrong: every promise is kept.

The short form of ``python -m benchmarks soak``: in 21 seconds a crowd sends photos, PostgreSQL
crashes, and a worker is killed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from benchmarks import soak
from tests.examples.portraits import write_model
from tests.support.cgroup import need_cgroup
from tests.support.mongo import need_mongo
from tests.support.postgres import need_postgres

pytestmark = [pytest.mark.real, pytest.mark.timed]

FAULTS = "photos,no PostgreSQL,killed worker"


def test_no_promise_is_broken(tmp_path: Path) -> None:
    """What was acknowledged is there, nothing was killed by the kernel, and the level is OK."""
    need_cgroup()
    need_postgres()
    need_mongo()
    parser = argparse.ArgumentParser()
    soak.add_options(parser)
    model = write_model(tmp_path / "dark.onnx")
    chosen = parser.parse_args(
        ["--minutes", "0.35", "--every", "5", "--faults", FAULTS, "--model", f"{model}"]
    )

    done = soak.measure(chosen)

    assert {fault["kind"] for fault in done.details["faults"]} == set(FAULTS.split(","))
    assert done.details["broken_promises"] == [], f"{done.text()}\n{done.details['unmeant']}"
