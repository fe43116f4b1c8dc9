"""What heartbeats say of themselves, beside what their writer says."""

from __future__ import annotations

from dataclasses import dataclass

from tonnage.stores.statistics import WriterStatistics


@dataclass(frozen=True, slots=True)
class HeartbeatStatistics:
    """Heartbeats at one moment; counts are of this process, since it was forked.

    Attributes:
        name: what they are called.
        beats: how many were taken, or dropped.
        waiting: sessions with beats that nobody has begun to store.
        ended: sessions that this process has ended.
        sweeps: how often it has looked for silent ones.
        writer: of the records that beats have become: one for each session and flush.
    """

    name: str
    beats: int
    waiting: int
    ended: int
    sweeps: int
    writer: WriterStatistics
