"""What a writer was asked for, checked and in units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from tonnage.errors import ConfigError
from tonnage.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from pathlib import Path

Overflow = Literal["drop", "wait", "spool"]

#: One record and some KB at least, or nothing could be added.
LEAST_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """The options of one writer.

    Attributes:
        name: what logs and pages call it; also its directory's name in the spool.
        max_records: how many records it holds in memory at most, those on their way included.
        max_bytes: what these take at most.
        flush_seconds: how long a record waits for others at most.
        overflow: what becomes of records for which there is no room.
        durable: whether a record is on disk before it counts as added.
        write_seconds: how long one write of the sink may take.
        rejected_file: where records are kept that the sink rejects; None: in memory only.
        spool_dir: where records are kept on disk; None: as the option ``spool_dir`` says.
        spool_bytes: what these take at most.
    """

    name: str
    max_records: int
    max_bytes: int
    flush_seconds: float
    overflow: Overflow
    durable: bool
    write_seconds: float
    rejected_file: Path | None
    spool_dir: Path | None
    spool_bytes: int

    @property
    def batch_records(self) -> int:
        """How many records are worth a flush: half, so that adding goes on during the flush."""
        return max(1, self.max_records // 2)

    @property
    def batch_bytes(self) -> int:
        """How many bytes are worth a flush: half, too."""
        return self.max_bytes // 2


def checked(name: str, **given: Any) -> WriterOptions:
    """Return the options of the writer *name*, with sizes such as ``"1M"`` in bytes.

    Raises:
        ConfigError: one of them makes no sense.
    """
    for key in ("max_bytes", "spool_bytes"):
        given[key] = parse_bytes(given[key])
    for key in ("flush_seconds", "write_seconds"):
        given[key] = parse_seconds(given[key])
    options = WriterOptions(name=name, **given)
    if options.max_records < 1 or options.max_bytes < LEAST_BYTES:
        raise ConfigError(
            f"writer {name!r}: a bound of {options.max_records} records and"
            f" {options.max_bytes} bytes holds nothing: give it one record and some KB at least"
        )
    if options.overflow not in get_args(Overflow):
        known = ", ".join(get_args(Overflow))
        raise ConfigError(f"writer {name!r}: overflow={options.overflow!r} is none of {known}")
    if options.flush_seconds <= 0 or options.write_seconds <= 0:
        raise ConfigError(f"writer {name!r}: flush_seconds and write_seconds must be above 0")
    return options
