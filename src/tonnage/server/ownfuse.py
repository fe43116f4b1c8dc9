"""A worker's own fuse, as far as the worker moves it: up, where the supervisor would be too late.

The supervisor sets it some times a second, and lowers it, since that takes a look at the other
workers (:mod:`tonnage.server.fuses`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tonnage.governor.fuse import LEAST_SLACK_BYTES, SLACK_BYTES
from tonnage.host.reins import UNLIMITED, limit_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import Slot


class OwnFuse:
    """The limit of this process's data; its slot says where it is, 0: there is none."""

    def __init__(self, slot: Slot, reserved_bytes: Callable[[], int]) -> None:
        """Begin without a limit.

        Args:
            slot: the worker's.
            reserved_bytes: what the stacks of its threads reserve.
        """
        self._slot = slot
        self._reserved_bytes = reserved_bytes
        # What stacks reserved when the fuse was last set or raised for them.
        self._stacks_bytes = 0

    def set_first(self, left_bytes: int) -> None:
        """Limit this process's data to what it has, and *left_bytes*, or the usual slack.

        The supervisor's own first look at a new worker can come after the first request.
        """
        self._stacks_bytes = self._reserved_bytes()
        self._move(self._slot.data_bytes + max(left_bytes, SLACK_BYTES))

    def keep_above_grants(self) -> None:
        """Raise it, if what this worker's requests were just granted needs that.

        A request begins at once.
        """
        needed = self._slot.data_bytes + self._slot.granted_bytes + LEAST_SLACK_BYTES
        if 0 < self._slot.data_limit_bytes < needed:
            self._move(needed)

    def follow_stacks(self) -> None:
        """Raise it by what stacks have come to reserve since this was last called.

        A burst starts its threads once it has been granted what it takes. Their stacks are address
        space that is next to never touched, and came to more than the slack of a grant: one request
        in ten thousand then failed within its promise.

        Works in any thread; in a process that was forked from the worker it changes nothing.
        """
        reserved_bytes = self._reserved_bytes()
        grown, self._stacks_bytes = reserved_bytes - self._stacks_bytes, reserved_bytes
        if grown > 0 and self._slot.data_limit_bytes and self._slot.pid == os.getpid():
            self._move(self._slot.data_limit_bytes + grown)

    def slacken(self) -> None:
        """Raise it a little, since the server's own code has met it."""
        if self._slot.data_limit_bytes:
            self._move(self._slot.data_limit_bytes + LEAST_SLACK_BYTES)

    def lift(self) -> None:
        """Take it away: this process ends, and what it still starts is bounded."""
        if self._slot.data_limit_bytes and limit_data(0, UNLIMITED):
            self._slot.data_limit_bytes = 0

    def _move(self, to_bytes: int) -> None:
        if limit_data(0, to_bytes):
            self._slot.data_limit_bytes = to_bytes
