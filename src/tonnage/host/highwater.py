"""What was held for a moment between two looks, by the kernel's own high-water marks.

The kernel keeps the most that a process has ever had resident (``VmHWM``). Where that mark has
risen since it was last read, the process was so large in between, however shortly. A mark that has
not risen says nothing: what is below the highest is seen by looking alone. Marks are never reset,
as programs may read their own.

The marks of several processes are not of one moment. What all of them held together can have been
no more than the mark of their cgroup (:func:`charged_peak_bytes`), which counts file cache too.

Costs some 40 us a process. Bounded: one number for each process that is asked about.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tonnage.host.processes import status_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.host.cgroups import MemoryCgroup


def charged_peak_bytes(cgroup: MemoryCgroup | None) -> int | None:
    """Return the most that was charged to *cgroup* since it was made; None: the kernel keeps none.

    File cache counts in it, and whoever else may write there can have begun it anew.
    """
    try:
        return None if cgroup is None else int(cgroup.peak_path.read_bytes())
    except (OSError, ValueError):
        return None


class HighWater:
    """The marks of some processes, as they were read last."""

    def __init__(self, root: Path = Path("/")) -> None:
        """Begin; *root* is where ``/proc`` is."""
        self._root = root
        self._marks: dict[int, int] = {}

    def risen_bytes(self, pids: Iterable[int]) -> int:
        """Return by how much *pids*, of which marks have risen since the last call, have shrunk.

        That is: how much more than now was resident at their highest, as if all were so large at
        the same moment. Of a process that is new, and of one that has ended, nothing is known.
        """
        marks, total = {}, 0
        for pid in pids:
            try:
                mark, resident = status_bytes(pid, b"VmHWM", b"VmRSS", root=self._root)
            except OSError:
                continue  # it is gone, or not ours to look at
            if mark > self._marks.get(pid, mark):
                total += max(0, mark - resident)
            marks[pid] = mark
        self._marks = marks
        return total
