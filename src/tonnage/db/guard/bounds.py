"""What one engine allows its queries, and where slow ones are noted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tonnage.db.guard.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tonnage.db.guard.slow import SlowQueries


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a query may load at once.

    Attributes:
        max_rows, max_bytes: of one query; None: no bound.
        mode: ``stop``, ``warn`` or ``off``.
        slow: who is told how long each took.
    """

    max_rows: int | None
    max_bytes: int | None
    mode: str
    slow: SlowQueries

    def tally(self, statement: str, options: Mapping[str, Any]) -> Tally | None:
        """Return what counts one execution of *statement*; None where nothing is counted.

        Its own *options* may say ``max_rows`` and ``max_bytes``; None there: no bound.
        """
        if self.mode == "off":
            return None
        max_rows = options.get("max_rows", self.max_rows)
        max_bytes = options.get("max_bytes", self.max_bytes)
        return Tally(statement, max_rows, max_bytes, self.mode)
