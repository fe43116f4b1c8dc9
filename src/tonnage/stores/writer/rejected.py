"""Records that no sink will take: set aside, with the reason.

Promises: the last :data:`MOST_KEPT` are kept in memory, within :data:`MOST_KEPT_BYTES`; each is
counted; the log says how many and why, once a second at most, and nothing of what they hold. With a
file each is appended to it as one line of JSON; the file is renamed to ``NAME.1`` at
:data:`MOST_FILE_BYTES`, in place of the one before, so that both together take twice that at most.
Several processes may use one file. Where it cannot be written the log says so, and delivery goes
on.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tonnage.stores.rotated import RotatedFile
from tonnage.stores.sizes import size_bytes
from tonnage.stores.writer.notices import Notice, later, told
from tonnage.units import KIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

MOST_KEPT: Final = 100
MOST_KEPT_BYTES: Final = 256 * KIB
MOST_FILE_BYTES: Final = 8 * MIB


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """One record that was set aside.

    Attributes:
        record: what was to be stored.
        id: what told it from others, where the writer is durable.
        reason: what the sink said.
        at_seconds: when that was, as :func:`time.time` has it.
    """

    record: Mapping[str, Any]
    id: str | None
    reason: str
    at_seconds: float


class Rejected:
    """What was set aside by one writer.

    Args:
        name: the writer's.
        file: where all of it is appended; None: nowhere.
        most_file_bytes: how large that file becomes.
        now: seconds since the epoch.
        later: as for :class:`~tonnage.stores.writer.notices.Notice`.
    """

    def __init__(
        self,
        name: str,
        file: Path | None = None,
        *,
        most_file_bytes: int = MOST_FILE_BYTES,
        now: Callable[[], float] = time.time,
        later: Callable[[float, Callable[[], object]], object] = later,
    ) -> None:
        #: How many there were.
        self.total = 0
        self._most_file_bytes = most_file_bytes
        self._file: RotatedFile | None = None
        if file is not None:
            self._file = RotatedFile(file, file_bytes=most_file_bytes, files_kept=1, mode=0o600)
        self._now = now
        self._kept: deque[tuple[RejectedRecord, int]] = deque()
        self._kept_bytes = 0
        self._set_aside = Notice(
            f"writer {name}: %d records rejected and set aside: %s", later=later
        )
        self._not_written = Notice(
            f"writer {name}: %d rejected records could not be appended to {file}: %s", later=later
        )

    def set_aside(self, record: Mapping[str, Any], record_id: str | None, error: Exception) -> None:
        """Keep *record*, which was rejected with *error*."""
        found = RejectedRecord(record, record_id, told(error), self._now())
        self.total += 1
        self._keep(found)
        self._set_aside.add(1, found.reason)
        if self._file is not None:
            try:
                self._append(self._file, found)
            except Exception as problem:  # noqa: BLE001 - whatever it is, delivery goes on
                self._not_written.add(1, problem)

    def records(self) -> list[RejectedRecord]:
        """Return those that are kept, the oldest first."""
        return [each for each, _ in list(self._kept)]

    def settle(self) -> None:
        """Log what has not been logged yet."""
        self._set_aside.settle()
        self._not_written.settle()

    def _keep(self, found: RejectedRecord) -> None:
        weight = size_bytes(found.record) + size_bytes(found.reason)
        self._kept.append((found, weight))
        self._kept_bytes += weight
        while len(self._kept) > MOST_KEPT or self._kept_bytes > MOST_KEPT_BYTES:
            self._kept_bytes -= self._kept.popleft()[1]

    def _append(self, file: RotatedFile, found: RejectedRecord) -> None:
        try:
            line = _line(found, found.record)
        except Exception:  # noqa: BLE001 - a value's own code may raise anything
            line = b""
        if not line or len(line) > self._most_file_bytes:
            line = _line(found, {})
        file.append(line)


def _line(found: RejectedRecord, record: Mapping[str, Any]) -> bytes:
    told_of = {
        "at": found.at_seconds,
        "id": found.id,
        "reason": found.reason,
        "record": dict(record),
    }
    try:
        return json.dumps(told_of, default=str).encode() + b"\n"
    except (TypeError, ValueError, RecursionError):
        # Keys that are no strings, or what holds itself.
        told_of["record"] = repr(record)
        return json.dumps(told_of).encode() + b"\n"
