"""One of the two backends in its box, and started again where it ends, as a platform would.

    with Site(command, box, port, directory, environment) as site:
        ...                    # site.starts counts, site.printed() is the end of its log

Ending means: the process that we started. Workers that their own master replaces are its affair;
the kernel's counter tells how many it has killed. Memory is the box's, see ``benchmarks.box``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from benchmarks.box import MemoryBox

RESTART_SECONDS: Final = 1.0
"""After how long a platform starts anew what has ended."""
STOP_SECONDS: Final = 20.0
"""How long a backend has for an orderly end."""
LOG_TAIL_BYTES: Final = 2000


class Site:
    """A running backend; a context manager that leaves nothing running.

    *command* is started with this interpreter, as ``python -m`` does, in *directory*.
    """

    def __init__(
        self,
        command: str,
        box: MemoryBox,
        port: int,
        directory: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.port = port
        self.starts = 0
        self._box = box
        self._command = [sys.executable, "-m", *shlex.split(command.format(port=port))]
        self._directory = directory
        self._environment = dict(environment)
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="platform")

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.starts - 1)

    def printed(self) -> str:
        """Return the end of what it has printed."""
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), LOG_TAIL_BYTES, max(0, size - LOG_TAIL_BYTES))
        return tail.decode(errors="replace")

    def stop(self) -> None:
        """Have it end in order; what has not ended then is killed."""
        self._over.set()
        self._keeper.join()
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self._box.empty()
        self._process.wait()

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        self._start()
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._log.close()

    def _start(self) -> None:
        self.starts += 1
        self._process = subprocess.Popen(
            self._box.wrap(self._command),
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def _keep(self) -> None:
        """Start it again whenever it has ended, with all that it had started."""
        while not self._over.wait(0.05):
            if self._process.poll() is None:
                continue
            self._box.empty()
            if not self._over.wait(RESTART_SECONDS):
                self._start()
