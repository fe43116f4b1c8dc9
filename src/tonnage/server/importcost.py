"""What importing an application costs: measured in a zygote that is thrown away."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from tonnage.budget.plan import AppSize
from tonnage.errors import WorkerError
from tonnage.governor.page import SharedPage
from tonnage.host.descriptors import open_descriptors
from tonnage.host.processes import read_rollup
from tonnage.server.assignment import Assignment
from tonnage.server.loader import check_target
from tonnage.server.zygote import Zygote

if TYPE_CHECKING:
    from tonnage.settings import Settings


def measure_app(settings: Settings) -> AppSize:
    """Import the application in a child process and return its size.

    Raises:
        TargetError: the application was not found or is none.
        WorkerError: its own code failed, or took too long.
    """
    check_target(settings.app.target)
    inherited = open_descriptors()
    for name, value in settings.env_file_variables.items():
        os.environ.setdefault(name, value)
    with socket.socket() as unused:
        zygote = Zygote.start(
            Assignment(
                settings=settings,
                page=SharedPage(),
                index=0,
                listening=unused,
                supervisor_pid=os.getpid(),
                queue_requests=0,
                threads=settings.process.threads,
                huge_pages=False,
                inherited=inherited,
            )
        )
        try:
            zygote.await_ready(settings.process.start_seconds)
            return size_of(zygote)
        finally:
            zygote.stop()
            with suppress(ChildProcessError):
                os.waitpid(zygote.pid, 0)


def size_of(zygote: Zygote) -> AppSize:
    """Return what the import in *zygote* has cost.

    Raises:
        WorkerError: the process is gone, as by the kernel where memory ran out.
    """
    try:
        rollup = read_rollup(zygote.pid)
    except OSError as error:
        raise WorkerError(f"what the import has cost cannot be read: {error.strerror}") from error
    return AppSize(
        zygote_bytes=rollup.pss_bytes,
        private_anon_bytes=rollup.pss_anon_bytes,
        worker_own_bytes=None,
        how="measured",
        seconds=zygote.seconds,
        stores=zygote.stores,
    )
