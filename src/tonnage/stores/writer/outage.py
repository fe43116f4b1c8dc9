"""Whether a sink fails, and what the log says of it.

Promises: one line when it begins to fail, one about every :data:`AGAIN_SECONDS` while that lasts
and when it fails in another way, and one when it is over. An error that looks like a mistake in a
program comes with its traceback, the first time of its kind.

Decides nothing; :mod:`tonnage.stores.writer.delivery` goes on trying.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.stores.writer.notices import logger, told
from tonnage.stores.writer.patience import is_of_a_program

if TYPE_CHECKING:
    from collections.abc import Callable

#: How often it is said that it lasts.
AGAIN_SECONDS: Final = 60.0


class Outage:
    """The failures of one writer's sink.

    Args:
        name: the writer's.
        clock: monotonic seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock
        self._since_seconds: float | None = None
        self._again_seconds = 0.0
        # What has been told since the last line of its time, and what has come with a traceback:
        # Python's own errors only, of which there are some dozens.
        self._told: set[type[BaseException]] = set()
        self._traced: set[type[BaseException]] = set()

    @property
    def is_on(self) -> bool:
        """Whether the last write has failed."""
        return self._since_seconds is not None

    def failed(self, error: Exception) -> None:
        """Say that a write has failed with *error*, if it is time to."""
        now = self._clock()
        if self._since_seconds is None:
            self._since_seconds = now
            self._say(error, "the sink does not take records, trying again")
        elif now >= self._again_seconds:
            seconds = now - self._since_seconds
            self._say(error, f"the sink does not take records for {seconds:.0f} s now")
        elif type(error) not in self._told:
            self._told.add(type(error))
            self._log(error, "the sink fails in another way now, trying again")

    def ended(self) -> None:
        """Say that the sink takes records, if it did not."""
        if self._since_seconds is not None:
            logger.warning(
                "writer %s: the sink takes records again, after %.1f s",
                self._name,
                self._clock() - self._since_seconds,
            )
            self._since_seconds = None

    def given_up(self, tries: int) -> None:
        """Say that it was no outage: the records are at fault."""
        if self._since_seconds is not None:
            logger.warning(
                "writer %s: the sink failed in the same way %d times, as a mistake in a program"
                " does; the records that it fails with are looked for",
                self._name,
                tries,
            )
            self._since_seconds = None

    def _say(self, error: Exception, what: str) -> None:
        self._again_seconds = self._clock() + AGAIN_SECONDS
        self._told = {type(error)}
        self._log(error, what)

    def _log(self, error: Exception, what: str) -> None:
        is_first = is_of_a_program(error) and type(error) not in self._traced
        if is_first:
            self._traced.add(type(error))
        logger.warning(
            "writer %s: %s: %s",
            self._name,
            what,
            told(error),
            exc_info=error if is_first else None,
        )
