"""What one engine allows its queries, and where slow ones are noted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from tonnage.db.guard.slow import SlowQueries
from tonnage.db.guard.tally import Tally
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tonnage.settings import DatabaseSettings


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

    @classmethod
    def of(
        cls,
        settings: DatabaseSettings,
        max_rows: int | None,
        max_bytes: int | None,
        guard: str | None,
        slow_seconds: float | None,
    ) -> Self:
        """Return what an application has given, and else the options; as :func:`limits` has it."""
        rows, size_bytes, mode, slow = limits(settings, max_rows, max_bytes, guard, slow_seconds)
        return cls(rows, size_bytes, mode, SlowQueries(slow))

    def tally(self, statement: str, options: Mapping[str, Any]) -> Tally | None:
        """Return what counts one execution of *statement*; None where nothing is counted.

        Its own *options* may say ``max_rows`` and ``max_bytes``; None there: no bound.

        Raises:
            ConfigError: what they say is neither a whole number above 0 nor None.
        """
        if self.mode == "off":
            return None
        max_rows, max_bytes = self.max_rows, self.max_bytes
        if "max_rows" in options:
            max_rows = _checked("max_rows", options["max_rows"], "None")
        if "max_bytes" in options:
            max_bytes = _checked("max_bytes", options["max_bytes"], "None")
        return Tally(statement, max_rows, max_bytes, self.mode)


def limits(
    settings: DatabaseSettings,
    max_rows: int | None,
    max_bytes: int | None,
    guard: str | None,
    slow_seconds: float | None,
    *,
    rows: str = "max_rows",
) -> tuple[int, int, str, float]:
    """Return how many rows and bytes a query may load, what happens beyond, and what is slow.

    Args:
        settings: what the options say, where an argument is None.
        max_rows: as an application has given it.
        max_bytes: as an application has given it.
        guard: as an application has given it.
        slow_seconds: as an application has given it.
        rows: what the application calls the first.

    Raises:
        ConfigError: one of them makes no sense.
    """
    for name, value in ((rows, max_rows), ("max_bytes", max_bytes)):
        _checked(name, value, "guard='off'")
    if guard not in (None, "stop", "warn", "off"):
        raise ConfigError(f"guard is stop, warn or off, not {guard!r:.40}")
    if slow_seconds is not None and not _is_time(slow_seconds):
        raise ConfigError(f"slow_seconds is a number, 0 at least, not {slow_seconds!r:.40}")
    return (
        settings.max_query_rows if max_rows is None else max_rows,
        settings.max_query_bytes if max_bytes is None else max_bytes,
        settings.query_guard if guard is None else guard,
        settings.slow_query_seconds if slow_seconds is None else slow_seconds,
    )


def _is_time(seconds: object) -> bool:
    return type(seconds) in (int, float) and cast("float", seconds) >= 0


def _checked(name: str, bound: int | None, none: str) -> int | None:
    if bound is not None and (type(bound) is not int or bound < 1):
        raise ConfigError(
            f"{name} is a whole number, 1 at least, not {bound!r:.40}; {none} is no bound"
        )
    return bound
