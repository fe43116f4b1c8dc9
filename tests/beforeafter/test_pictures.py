"""The pictures, from runs that nobody has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="pictures are drawn where the benchmarks are installed")

from benchmarks.beforeafter.pictures import draw_memory, draw_peaks, kills, typical

from tonnage.units import MIB


def run(peak: int, *killed: int) -> dict[str, Any]:
    """Return a run with a peak in MB, and how many the kernel had killed at each point."""
    return {
        "figures": {"peak_bytes": peak * MIB, "kernel_kills": killed[-1]},
        "series": [[at / 2, peak * MIB, count] for at, count in enumerate(killed)],
    }


SAVED: dict[str, Any] = {
    "limit_bytes": 512 * MIB,
    "ways": {
        "naive-wide": {"title": "as it was, 8 GB", "runs": [run(900, 0, 0, 0)]},
        "naive": {"title": "as it was, 512 MB", "runs": [run(512, 0, 2, 2), run(500, 0, 0, 1)]},
        "tonnage": {"title": "on Tonnage, 512 MB", "runs": [run(n, 0, 0, 0) for n in (9, 7, 8)]},
    },
}


def test_the_run_that_is_shown_has_the_peak_in_the_middle() -> None:
    """Of two, the lower one."""
    assert typical(SAVED["ways"]["tonnage"]["runs"])["figures"]["peak_bytes"] == 8 * MIB
    assert typical(SAVED["ways"]["naive"]["runs"])["figures"]["peak_bytes"] == 500 * MIB


def test_kills_are_marked_where_their_count_grew() -> None:
    """Not where it stayed; and at the limit, wherever the sample was."""
    series = run(370, 0, 2, 2, 3)["series"]
    assert kills(series, 512) == [(0.5, 370 * MIB), (1.5, 370 * MIB)]
    assert kills(series, 512 * MIB) == [(0.5, 512 * MIB), (1.5, 512 * MIB)]


def test_the_same_figures_give_the_same_files(tmp_path: Path) -> None:
    """So that a picture changes only when what it shows has changed."""
    for images in (tmp_path / "a", tmp_path / "b"):
        assert draw_memory("fitflix", SAVED, images) == "before-after-fitflix.svg"
        assert draw_peaks({"fitflix": SAVED, "lvlup": SAVED}, images) == "before-after-peaks.svg"
    for first in sorted((tmp_path / "a").iterdir()):
        assert first.read_bytes() == (tmp_path / "b" / first.name).read_bytes()
        assert len(first.read_bytes()) < 200_000
