"""``tonnage jobs``: one worker of the task queue, as a process.

Finds its own memory limit, takes jobs until it is told to stop, and tells what it does in the log.
Where Redis is away it goes on trying, and takes jobs again when that is back.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from tonnage.errors import ConfigError, TargetError
from tonnage.jobs import settings as job_settings
from tonnage.jobs.queue import serve_queue
from tonnage.ops.logging import configure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tonnage.jobs.queue.worker import QueueWorker
    from tonnage.settings import Settings

logger = logging.getLogger("tonnage.jobs")


def work(settings: Settings, told: Mapping[str, str]) -> int:
    """Take jobs until SIGTERM or SIGINT; return the exit status.

    Args:
        settings: what it was told, from all places.
        told: what flags have said of that, as variables for the processes that it starts.

    Raises:
        ConfigError: TONNAGE_JOBS is not set or makes no sense.
        TargetError: the module is not there.
    """
    if settings.jobs.jobs is None:
        raise ConfigError("no task queue is named: set TONNAGE_JOBS, as in redis://host/0")
    _check_target(settings)
    from tonnage.jobs.queue.saqueue import client

    # Whether the URL makes sense, before anything is begun.
    client(settings.jobs.jobs)
    configure(settings.logging)
    os.environ.update(told)
    for name, value in settings.env_file_variables.items():
        os.environ.setdefault(name, value)
    from tonnage.jobs.queue import worker as worker_module

    # Jobs that ask for jobs have them run here.
    serve_queue()
    job_settings.use(replace(settings.jobs, jobs=None))

    async def main() -> None:
        worker = worker_module.QueueWorker(settings.jobs, settings.process.stop_seconds)
        await worker.queue.connect()
        _tell_begin(settings)
        try:
            await worker.start()
        finally:
            await _leave(worker)

    asyncio.run(main())
    return 0


async def _leave(worker: QueueWorker) -> None:
    """Close the connections, of which Redis is told, if it is there."""
    from redis.exceptions import RedisError

    try:
        await worker.queue.disconnect()
    except (RedisError, OSError):
        logger.warning(
            "no more jobs are taken; the task queue is away, and gives what was not finished to"
            " other workers when it is back"
        )
    else:
        logger.info("no more jobs are taken; those that ran are finished or given back")


def _check_target(settings: Settings) -> None:
    """Look for the module, without importing it: the processes of its jobs do."""
    target = settings.app.target
    if target is None:
        raise TargetError("no module is named: write for example tonnage jobs main")
    directory = str(settings.app.app_dir)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module = target.partition(":")[0]
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise TargetError(f"there is no module {module} in {directory} or among what is installed")


def _tell_begin(settings: Settings) -> None:
    jobs = settings.jobs
    logger.info("taking jobs from the task queue, %d at once (pid %d)", jobs.job_slots, os.getpid())
    if jobs.job_key is None:
        logger.warning(
            "jobs are not signed: whoever can write to this Redis can run code here; set"
            " TONNAGE_JOB_KEY, the same for the application and its workers"
        )
