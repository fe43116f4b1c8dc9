"""Which files have tests with a marker: told by their text, since to import all takes long."""

from __future__ import annotations

from pathlib import Path


def is_marked(file: Path, marker: str) -> bool:
    """Return whether any test in *file* has *marker*."""
    return f"mark.{marker}" in file.read_text()
