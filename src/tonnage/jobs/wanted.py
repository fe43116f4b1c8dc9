"""What a caller wants for a job: memory, time, a turn, a warm process. Read as people write it.

Checked where it is written, so that a mistake is found when the application is imported. What is
left out is what the options say (:mod:`tonnage.jobs.settings`) when the job is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

from tonnage.checks import read
from tonnage.errors import ConfigError
from tonnage.jobs.call import Call
from tonnage.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from tonnage.settings import JobSettings

Size = str | int | None
Seconds = str | float | None


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What is wanted; None is what the options say."""

    memory_bytes: int | None = None
    timeout_seconds: float | None = None
    wait_seconds: float | None = None
    keep_warm_seconds: float | None = None
    job_id: str | None = None

    @classmethod
    def of(
        cls,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
        job_id: str | None = None,
    ) -> JobOptions:
        """Return what was written.

        Raises:
            ConfigError: one of them makes no sense.
        """
        return cls(
            None if memory is None else read("memory", memory, parse_bytes),
            None if timeout is None else read("timeout", timeout, _some_seconds),
            None if wait is None else read("wait", wait, parse_seconds),
            None if keep_warm is None else read("keep_warm", keep_warm, parse_seconds),
            job_id,
        )

    def over(self, others: JobOptions) -> JobOptions:
        """Return this, with what *others* have where it leaves something out."""
        given = {name: value for name in _NAMES if (value := getattr(self, name)) is not None}
        return replace(others, **given)

    def call(self, name: str, told: JobSettings) -> Call:
        """Return the call of the function that is called *name*; what is left out is as *told*."""
        memory, timeout, wait = self.memory_bytes, self.timeout_seconds, self.wait_seconds
        return Call(
            name,
            told.job_memory_bytes if memory is None else memory,
            told.job_timeout_seconds if timeout is None else timeout,
            told.job_wait_seconds if wait is None else wait,
            self.keep_warm_seconds or 0.0,
            is_usual=memory is None,
        )


_NAMES: Final = tuple(each.name for each in fields(JobOptions))


def _some_seconds(text: str | float) -> float:
    seconds = parse_seconds(text)
    if seconds <= 0:
        raise ConfigError("a job needs some time: write for example 30s")
    return seconds
