"""What the reference backends are compared with owes nothing to what they are built on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.server import ROOT, clean_environment

pytestmark = pytest.mark.real


@pytest.mark.parametrize("example", ["eventide", "fibuca", "fitflix", "lvlup"])
def test_twins_do_without_tonnage(example: str, tmp_path: Path) -> None:
    """Not even by way of the tables."""
    done = subprocess.run(
        [sys.executable, "-c", "import naive, sys; print(*sys.modules)"],
        cwd=ROOT / "examples" / example,
        env=clean_environment()
        | {"DATABASE_URL": "postgresql://user@host/name"}
        | {f"{example.upper()}_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = done.stdout.split()
    assert "naive" in modules
    assert [name for name in modules if "tonnage" in name] == []
