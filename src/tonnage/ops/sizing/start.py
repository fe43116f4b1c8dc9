"""Begins to observe a server: opens its book, wires the parts. Called once, by the supervisor.

Once a day, and at the end, what was observed is a line in the log (:func:`tell`), for machines
whose disks do not last.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tonnage import __version__
from tonnage.host.highwater import HighWater, charged_peak_bytes
from tonnage.host.limits import discover_limit
from tonnage.ops.sizing.book import Book
from tonnage.ops.sizing.keeping import Keeping
from tonnage.ops.sizing.observer import WORTH_SECONDS, Eyes, Observer
from tonnage.ops.sizing.period import Counts
from tonnage.ops.sizing.places import file_name, state_directory
from tonnage.ops.sizing.record import History

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.budget.plan import Plan
    from tonnage.budget.sizes import AppSize
    from tonnage.governor.statistics import Statistics
    from tonnage.ops.figures.records import Figures
    from tonnage.ops.sizing.record import Row
    from tonnage.settings import Settings

logger = logging.getLogger("tonnage.supervisor")


def start_observer(
    settings: Settings,
    plan: Plan,
    app: AppSize | None,
    read: Callable[[], Statistics],
    figures: Callable[[], Figures],
) -> Observer:
    """Return who observes a server with *settings*, *plan* and an application of the size *app*.

    Args:
        settings: what the server was told.
        plan: what it runs with.
        app: what the import has cost; None: each worker imports for itself.
        read: returns the state of this moment.
        figures: returns what was counted since the start, of workers that have ended too.
    """

    def counts() -> Counts:
        counted, now = figures(), read()
        return Counts(
            counted.refused,
            counted.waited,
            counted.memory_errors,
            now.kernel_kills,
            now.recycles,
        )

    cgroup = discover_limit(settings.memory.limit_bytes).cgroup
    first = History(
        target=settings.app.target or "",
        directory=os.fspath(settings.app.app_dir),
        version=__version__,
        measured="",
        is_running=True,
        written_seconds=0,
        preload=settings.app.preload,
        app=app,
        plan={line.key: line.bytes for line in plan.lines} | {"limit": plan.limit_bytes},
    )
    return Observer(
        Eyes(read, counts, HighWater().risen_bytes, lambda: charged_peak_bytes(cgroup)),
        Keeping(lambda: _book(settings, first), first),
        tell=lambda row: tell(settings, first, row),
        # A directory that was named is meant to be written to, however short the run.
        least_seconds=WORTH_SECONDS if settings.reports.state_dir is None else 0.0,
        clock=time.monotonic,
        wall_clock=time.time,
    )


def tell(settings: Settings, history: History, row: Row) -> None:
    """Log *row*, and which limit would do by that alone; fails nobody."""
    if not row.limit_bytes:
        return  # not one look has succeeded
    try:
        # Imported when there is something to say.
        from tonnage.ops.sizing.advice import USUAL_MARGIN, advise, parts_for
        from tonnage.ops.sizing.text import log_line

        end = row.start_seconds + row.seconds
        seen = replace(history, written_seconds=end)
        parts_at = parts_for(settings, history.app)
        text, fields = log_line(row, advise(seen, row, USUAL_MARGIN, parts_at, now_seconds=end))
        logger.info("%s", text, extra={"fields": fields})
    except Exception:
        # Called in the supervisor's loop, which has more to do than to tell figures.
        logger.exception("what was observed of memory cannot be told")


def _book(settings: Settings, first: History) -> Book | None:
    """Return the book to keep; None where that cannot be, which is said."""
    chosen = settings.reports.state_dir
    directory = state_directory(chosen, os.environ)
    write = logger.info if chosen is None else logger.warning
    if directory is None:
        write("what is observed of memory is not kept, as there is no home: see --state-dir")
        return None
    try:
        return Book.open(directory, file_name(first.target, settings.app.app_dir))
    except OSError as error:
        write(
            "what is observed of memory is not kept in %s: %s; see --state-dir",
            directory,
            error.strerror or error,
        )
        return None
