"""``tonnage jobs`` as a real process: a worker of the task queue.

with RedisServer() as redis, QueueWorker(redis.url) as worker:
    worker.kill()                   # SIGKILL, and its jobs with it
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO, Self

from tests.support.server import ROOT, clean_environment
from tests.support.waiting import await_true

from tonnage.host.processes import descendants

_START_SECONDS = 20.0
_STOP_SECONDS = 15.0


class QueueWorker:
    """One worker; a context manager that begins when it takes jobs, and ends with it gone.

    Args:
        url: the queue's Redis.
        target: the module of the jobs.
        options: of ``tonnage jobs``.
        env: variables beside those that every process needs.
    """

    def __init__(
        self, url: str, target: str, *options: str, env: Mapping[str, str] | None = None
    ) -> None:
        self._arguments = [target, "--log-format", "text", *options]
        #: Where large values go, if there is a place.
        self.results = (env or {}).get("TONNAGE_JOB_RESULTS")
        self._env = {"TONNAGE_JOBS": url, **(env or {})}

    def __enter__(self) -> Self:
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tonnage", "jobs", *self._arguments],
            cwd=ROOT,
            env=clean_environment() | self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            await_true(self._has_begun, "the worker takes jobs", _START_SECONDS)
        except BaseException:
            self._end_by_force()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if error is not None:
                error.add_note(f"the worker's log:\n{self.log[-4000:]}")
            elif self.process.poll() is None:
                assert self.stop() == 0, self.log
        finally:
            self._end_by_force()

    @property
    def log(self) -> str:
        """What it has printed so far."""
        if self._log.closed:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    @property
    def tree(self) -> list[int]:
        """Its process and all that it has started."""
        return [self.process.pid, *descendants(self.process.pid)]

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it with SIGTERM; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_SECONDS)

    def _has_begun(self) -> bool:
        assert self.process.poll() is None, self.log
        return "taking jobs from the task queue" in self.log

    def _end_by_force(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._log.close()
