"""From settings to a zygote that imports, as early as can be; the rest is made meanwhile.

The zygote is forked before the supervisor imports its own parts: it would inherit them, and copy
most of their pages by writing to what lies beside them (4 MB).
"""

from __future__ import annotations

import gc
import logging
import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tonnage.db.settings import use as use_for_databases
from tonnage.governor.page import SharedPage
from tonnage.host.commons import open_commons
from tonnage.host.descriptors import open_descriptors
from tonnage.host.malloc import allocator_kind
from tonnage.host.prctl import adopt_orphans, name_process, use_huge_pages
from tonnage.host.priority import look_first
from tonnage.jobs.settings import use as use_for_jobs
from tonnage.logs import ring
from tonnage.logs.settings import log_settings
from tonnage.logs.settings import use as use_for_logs
from tonnage.ops.logging import configure
from tonnage.server.assignment import Assignment
from tonnage.server.listener import Listener, open_listener
from tonnage.server.loader import check_target
from tonnage.server.nursery import Nursery
from tonnage.stores.settings import use
from tonnage.web.path.fromsettings import prepare

if TYPE_CHECKING:
    from types import FrameType

    from tonnage.settings import Settings

logger = logging.getLogger("tonnage.supervisor")


def start(settings: Settings) -> int:
    """Start everything, run until told to stop, and return the exit status.

    Raises:
        TonnageError: the server cannot start; what was opened by then is closed again.
    """
    # First, since all processes keep what was open by then: they share it.
    open_commons()
    ring.keep("supervisor")
    inherited = open_descriptors()
    configure(settings.logging)
    for warning in settings.warnings:
        logger.warning("%s", warning)
    check_target(settings.app.target)
    prepare(settings)
    use(settings.stores)
    use_for_databases(settings.databases)
    use_for_jobs(settings.jobs)
    use_for_logs(log_settings(settings))
    for name, value in settings.env_file_variables.items():
        os.environ.setdefault(name, value)
    # Until the supervisor's loop takes signals; as PID 1 we would not even be ended by them.
    signal.signal(signal.SIGTERM, _give_up)
    name_process("tonnage")
    adopt_orphans()
    use_huge_pages(enabled=False)
    look_first()
    with ExitStack() as stack:
        # The last of all: when no worker is there any more.
        stack.callback(_remove_shared)
        listener = open_listener(settings.listen)
        stack.callback(listener.close)
        page = SharedPage()
        assignment = _assignment(settings, page, listener, inherited)
        nursery = Nursery(assignment, preload=settings.app.preload)
        stack.callback(nursery.stop)
        _freeze()
        nursery.begin()
        from tonnage.server.assemble import assemble

        return assemble(settings, page, listener, nursery, stack).run()


def _give_up(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _remove_shared() -> None:
    # Only now: the supervisor itself knows no caches.
    from tonnage.stores.shared.directory import remove_directory

    remove_directory()


def _assignment(
    settings: Settings, page: SharedPage, listener: Listener, inherited: frozenset[int]
) -> Assignment:
    kind = settings.memory.allocator
    return Assignment(
        settings=settings,
        page=page,
        index=0,
        listening=listener.socket,
        supervisor_pid=os.getpid(),
        queue_requests=0,
        threads=settings.process.threads,
        inherited=inherited,
        huge_pages=(allocator_kind() if kind == "auto" else kind) == "huge",
    )


def _freeze() -> None:
    """Keep collectors away from what supervisor and zygote share: they would write to it."""
    gc.collect()
    gc.freeze()
