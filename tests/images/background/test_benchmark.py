"""The benchmark of cut-outs, where what it compares with is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_without_rembg_it_says_what_to_install(u2netp: Path, tmp_path: Path) -> None:
    """In one line, before anything is measured."""
    (tmp_path / "rembg.py").write_text("raise ImportError('no numba')\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "images", "--results", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path, "TONNAGE_MODELS_DIR": str(u2netp.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "rembg cannot be imported (ImportError: no numba): run make install-bench, or leave it"
        " out: --ways warm,cold\n"
    )
