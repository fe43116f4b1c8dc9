"""The distributions: an sdist of the checkout, and a wheel of the sdist."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The backend that pyproject.toml names, by its hooks (PEP 517).
_HOOK = "import sys; from hatchling import build; getattr(build, sys.argv[1])(sys.argv[2])"


@dataclass(frozen=True, slots=True)
class Built:
    """The files that were built."""

    sdist: Path
    wheel: Path
    #: What the sdist holds, unpacked.
    source: Path


def build(directory: Path) -> Built:
    """Build both in *directory*."""
    sdist = _built(ROOT, "build_sdist", directory / "sdist", "*.tar.gz")
    # Python's own has to be told how since 3.12, and cannot be in 3.11.
    subprocess.run(["tar", "-xzf", sdist, "-C", directory], check=True)
    source = directory / sdist.name.removesuffix(".tar.gz")
    return Built(sdist, _built(source, "build_wheel", directory / "wheel", "*.whl"), source)


def _built(source: Path, hook: str, directory: Path, pattern: str) -> Path:
    directory.mkdir()
    command = [sys.executable, "-c", _HOOK, hook, str(directory)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (found,) = directory.glob(pattern)
    return found
