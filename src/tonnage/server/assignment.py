"""What a worker is told when it is made.

A module of its own, so that the supervisor need not import what a worker imports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from tonnage.governor.page import SharedPage
    from tonnage.host.channel import Channel
    from tonnage.settings import Settings


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is told: everything but the application itself."""

    settings: Settings
    page: SharedPage
    index: int
    listening: socket.socket
    supervisor_pid: int
    queue_requests: int
    threads: int
    huge_pages: bool
    # What was open before the server opened anything: standard streams, and what it was given.
    inherited: frozenset[int]

    def kept_descriptors(self, channel: Channel[Any, Any]) -> frozenset[int]:
        """Return what a process that is forked for this may keep open."""
        return self.inherited | {self.listening.fileno(), channel.fileno()}
