"""What is known of an hour, a day or a whole life of a server, in frozen records.

They can be joined: of two runs in one hour, of two instances beside each other, of many days. Those
of another limit or number of workers stay apart, as they say nothing of this one. What joined rows
say of a quantile is a bound: in all of them together the size stayed below the larger of their p99s
for 99 % of the time, or for more.

Pure. Bounded by who keeps them: :data:`MOST_HOURS` and :data:`MOST_DAYS` rows a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import reduce
from typing import Any, Final, Self

from tonnage.budget.sizes import AppSize
from tonnage.governor.books import PARTS
from tonnage.governor.levels import Level

FORMAT: Final = 1
_ROWS: Final = ("hours", "days")
HOUR_SECONDS: Final = 3600
DAY_SECONDS: Final = 86400
MOST_HOURS: Final = 48
MOST_DAYS: Final = 90

#: Beside :data:`~tonnage.governor.books.PARTS`: what the largest worker has of its own.
WORKER_OWN: Final = "worker_own"


@dataclass(frozen=True, slots=True)
class Row:
    """A stretch of time: sizes in bytes, times in seconds.

    Attributes:
        start_seconds: when it began, since 1970: a full hour or day, for those that are kept.
        seconds: for how long of it the server was observed.
        limit_bytes: the limit then.
        workers: how many were planned.
        peak_bytes: the most that was in use at a look, or that workers have reached in between.
        peak_seconds: when, since 1970.
        p99_bytes: for 99 of 100 seconds no more than this was in use at any look.
        p50_bytes: the same for half of them.
        at_peak: what the parts held at the peak.
        peaks: the most that each part has held, at whatever time; the largest worker's too.
        p99s: the same as p99_bytes, for each part.
        in_flight: the most requests that were served at once, as far as was seen.
        refused: requests that got no memory, or no place in the queue.
        waited: requests that waited for memory.
        memory_errors: requests that ran out of memory.
        kernel_kills: processes that the kernel has killed.
        recycles: workers that were replaced.
        cut_off: runs that ended without a word: power, or a kill of all processes at once.
        level_seconds: how long memory was OK, WARNING, CRITICAL, EXHAUSTED.
    """

    start_seconds: int
    seconds: int
    limit_bytes: int
    workers: int
    peak_bytes: int
    peak_seconds: int
    p99_bytes: int
    p50_bytes: int
    at_peak: Mapping[str, int]
    peaks: Mapping[str, int]
    p99s: Mapping[str, int]
    in_flight: int = 0
    refused: int = 0
    waited: int = 0
    memory_errors: int = 0
    kernel_kills: int = 0
    recycles: int = 0
    cut_off: int = 0
    level_seconds: tuple[float, ...] = (0.0,) * len(Level)

    @property
    def kind(self) -> tuple[int, int]:
        """What it was observed of: the limit, and the number of workers."""
        return self.limit_bytes, self.workers

    @property
    def key(self) -> tuple[int, int, int]:
        """What no two rows of one length have in common: when it began, and its kind."""
        return self.start_seconds, *self.kind

    def joined(self, other: Row, most_seconds: int | None = None) -> Row:
        """Return both, which are of one kind, as one.

        *most_seconds* is how long it can be at most: two instances observe the same hour.
        """
        first, last = sorted((self, other), key=lambda row: row.start_seconds)
        higher = max(first, last, key=lambda row: row.peak_bytes)
        whole = self.seconds + other.seconds
        halves = self.p50_bytes * self.seconds + other.p50_bytes * other.seconds
        return replace(
            last,
            start_seconds=first.start_seconds,
            seconds=whole if most_seconds is None else min(whole, most_seconds),
            peak_bytes=higher.peak_bytes,
            peak_seconds=higher.peak_seconds,
            p99_bytes=max(self.p99_bytes, other.p99_bytes),
            p50_bytes=int(halves / whole) if whole else 0,
            at_peak=higher.at_peak,
            peaks=_highest(self.peaks, other.peaks),
            p99s=_highest(self.p99s, other.p99s),
            in_flight=max(self.in_flight, other.in_flight),
            level_seconds=tuple(
                a + b for a, b in zip(self.level_seconds, other.level_seconds, strict=True)
            ),
            **{name: getattr(self, name) + getattr(other, name) for name in _COUNTED},
        )

    def to_json(self) -> list[float]:
        """Return the row as plain numbers, in the order of :data:`COLUMNS`."""
        return [
            *(getattr(self, name) for name in _SINGLE),
            *(self.at_peak.get(name, 0) for name in PARTS),
            *(self.peaks.get(name, 0) for name in _HELD),
            *(self.p99s.get(name, 0) for name in _HELD),
            *self.level_seconds,
        ]

    @classmethod
    def from_json(cls, numbers: Sequence[Any]) -> Self:
        """Return the row that these are the *numbers* of.

        Raises:
            ValueError: they are those of none.
        """
        if len(numbers) != len(COLUMNS):
            raise ValueError(f"a row has {len(numbers)} numbers, not {len(COLUMNS)}")
        left = iter(numbers)
        single = {name: int(next(left)) for name in _SINGLE}
        return cls(
            **single,
            at_peak={name: int(next(left)) for name in PARTS},
            peaks={name: int(next(left)) for name in _HELD},
            p99s={name: int(next(left)) for name in _HELD},
            level_seconds=tuple(float(next(left)) for _ in Level),
        )


_COUNTED: Final = ("refused", "waited", "memory_errors", "kernel_kills", "recycles", "cut_off")
_HELD: Final = (*PARTS, WORKER_OWN)
_SINGLE: Final = (
    *("start_seconds", "seconds", "limit_bytes", "workers", "peak_bytes", "peak_seconds"),
    *("p99_bytes", "p50_bytes", "in_flight", *_COUNTED),
)
#: What the numbers of a row are, as it is kept.
COLUMNS: Final = (
    *_SINGLE,
    *(f"{name} at the peak" for name in PARTS),
    *(f"{name} peak" for name in _HELD),
    *(f"{name} p99" for name in _HELD),
    *(level.name for level in Level),
)


@dataclass(frozen=True, slots=True)
class History:
    """What is known of one application on one machine, from one instance of it or several.

    Attributes:
        target: the application, as ``tonnage run`` was told.
        directory: where it was imported from.
        version: Tonnage's own.
        measured: how use was measured.
        is_running: it was running when this was written, and may be still.
        written_seconds: when this was written, since 1970.
        preload: whether the application was imported once for all workers.
        app: what the import cost, if that was measured.
        plan: the lines of the plan that it ran with, in bytes, and ``limit``.
        hours: the last ones, the oldest first.
        days: the last ones, the oldest first; the present one among them.
    """

    target: str
    directory: str
    version: str
    measured: str
    is_running: bool
    written_seconds: int
    preload: bool
    app: AppSize | None
    plan: Mapping[str, int]
    hours: tuple[Row, ...] = field(default=())
    days: tuple[Row, ...] = field(default=())

    def whole(self) -> Row | None:
        """Return all days as one row; None: there is none."""
        return reduce(Row.joined, self.days) if self.days else None

    def apart(self) -> tuple[History, tuple[Row, ...]]:
        """Return what was seen of the newest limit and number of workers, and a row for each other.

        The others are what all days of that kind come to, the last observed first.
        """
        kinds = list(dict.fromkeys(row.kind for row in reversed(self.days)))
        others = tuple(
            reduce(Row.joined, (row for row in self.days if row.kind == kind)) for kind in kinds[1:]
        )
        newest = replace(
            self,
            hours=tuple(row for row in self.hours if row.kind in kinds[:1]),
            days=tuple(row for row in self.days if row.kind in kinds[:1]),
        )
        return newest, others

    def to_json(self) -> dict[str, Any]:
        """Return this as plain data: of rows just the numbers, as there are many."""
        plain = {
            each.name: getattr(self, each.name) for each in fields(self) if each.name not in _ROWS
        }
        return {
            "format": FORMAT,
            **plain,
            "app": None if self.app is None else asdict(self.app),
            "columns": COLUMNS,
            **{name: [row.to_json() for row in getattr(self, name)] for name in _ROWS},
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return the history that *data* holds.

        Raises:
            ValueError: it is none, or one of another format.
        """
        try:
            if data["format"] != FORMAT:
                raise ValueError(f"its format is {data['format']!r}, not {FORMAT}")
            if data["columns"] != list(COLUMNS):
                raise ValueError("its columns are others")
            app = data["app"]
            return cls(
                target=str(data["target"]),
                directory=str(data["directory"]),
                version=str(data["version"]),
                measured=str(data["measured"]),
                is_running=bool(data["is_running"]),
                written_seconds=int(data["written_seconds"]),
                preload=bool(data["preload"]),
                app=None if app is None else _app(app),
                plan={str(name): int(size) for name, size in data["plan"].items()},
                hours=tuple(Row.from_json(row) for row in data["hours"]),
                days=tuple(Row.from_json(row) for row in data["days"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"it lacks something, or has it wrong: {error!r}") from error


def beside(histories: Iterable[History]) -> History | None:
    """Return what instances of one application have seen as one history; None: there are none.

    Each has a limit of its own, so the highest of them counts: nothing is added up but counts.
    """
    ordered = sorted(histories, key=lambda history: history.written_seconds)
    if not ordered:
        return None
    return replace(
        ordered[-1],
        is_running=any(history.is_running for history in ordered),
        hours=_merged((row for each in ordered for row in each.hours), HOUR_SECONDS),
        days=_merged((row for each in ordered for row in each.days), DAY_SECONDS),
    )


def in_order(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return *rows* by their time; of the same time, in the order that they come in."""
    return tuple(sorted(rows, key=lambda row: row.start_seconds))


def _merged(rows: Iterable[Row], length_seconds: int) -> tuple[Row, ...]:
    found: dict[tuple[int, int, int], Row] = {}
    for row in rows:
        # The last that was written is to be the last of its time.
        same = found.pop(row.key, None)
        found[row.key] = row if same is None else same.joined(row, length_seconds)
    return in_order(found.values())


def _highest(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


def _app(data: Mapping[str, Any]) -> AppSize:
    own_bytes = data["worker_own_bytes"]
    return AppSize(
        zygote_bytes=int(data["zygote_bytes"]),
        private_anon_bytes=int(data["private_anon_bytes"]),
        worker_own_bytes=None if own_bytes is None else int(own_bytes),
        how=data["how"],
        seconds=float(data["seconds"]),
        stores=tuple((str(name), int(size)) for name, size in data["stores"]),
    )
