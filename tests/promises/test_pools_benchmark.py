"""What the benchmark of pools has found can be kept, also where requests have failed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.pools import Found, add_options, failures, result
from benchmarks.record import machine
from benchmarks.timeline import Answer


def test_a_result_with_failures_can_be_saved(tmp_path: Path) -> None:
    """Statuses with their counts, as JSON has them."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    answers = [Answer(0.0, 0.1, 500), Answer(0.0, 0.2, 200), Answer(0.1, 0.3, 500)]
    found = Found(
        way="plain",
        most_connections=20,
        served=1,
        failed=failures(answers),
        p50_seconds=0.2,
        p99_seconds=0.2,
        worst_seconds=0.2,
        per_second=1.0,
        pss_kilobytes=1024,
        failed_before_gap=0,
        failed_in_gap=2,
        failed_afterwards=0,
        back_seconds=0.0,
        ended=0,
        failed_by_ends=0,
    )
    path = result([found], parser.parse_args([]), machine()).save(tmp_path)
    kept = json.loads(path.read_text())
    assert kept["details"]["found"][0]["failed"] == {"500": 2}
    assert kept["rows"][0][4] == "2"
