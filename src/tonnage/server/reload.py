"""Noticing that the application's source has changed, for ``--reload`` while developing.

Looks at modification times: no thread, no library, and quick enough for the trees that people edit.
At most :data:`MOST_FILES` files are watched.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_FILES: Final = 5000
EVERY_SECONDS: Final = 0.5
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})


class SourceWatch:
    """The Python files below a directory, as they were when last looked at."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen = self._times()

    def changed(self) -> str | None:
        """Return a file that was changed, added or removed since the last call; None: none was."""
        before, self._seen = self._seen, self._times()
        if before == self._seen:
            return None
        different = {path for path, _ in before.items() ^ self._seen.items()}
        return min(different)

    def _times(self) -> dict[str, int]:
        return dict(islice(self._walk(), MOST_FILES))

    def _walk(self) -> Iterator[tuple[str, int]]:
        for folder, folders, files in os.walk(self._directory):
            folders[:] = [
                name for name in folders if name not in _SKIPPED and not name.startswith(".")
            ]
            for name in files:
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    try:
                        yield path, os.stat(path).st_mtime_ns
                    except OSError:
                        continue
