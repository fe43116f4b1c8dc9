"""One load at a time: begun, stopped, and told of, by whichever worker is asked.

A worker may be replaced while its load runs; there is a load that does just that. So nothing is
kept here. A load is a process (:mod:`examples.demo.loads`) that has a file locked for as long as it
lives, whatever ends it, and writes what has become of its requests into another.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any

from examples.demo import DATA, HERE

LOCK = DATA / "load.lock"
TALLY = DATA / "load.json"


def begin(name: str, port: int, seconds: int) -> bool:
    """Begin the load *name* against this server's *port*; return False if there is one."""
    with LOCK.open("a+") as lock:
        if not _locked(lock, fcntl.LOCK_EX):
            return False
        lock.truncate(0)
        TALLY.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo.loads", name, f"{port}", f"{seconds}", TALLY],
            cwd=HERE.parent.parent,
            # The lock is the process's from now on: it ends with the last that has the file open.
            pass_fds=[lock.fileno()],
        )
        lock.write(f"{process.pid}")
    # Somebody has to ask how it ended, or it would stay in the list of processes.
    threading.Thread(target=process.wait, daemon=True).start()
    return True


def stop() -> None:
    """Have the load end, if there is one."""
    with LOCK.open("a+") as lock:
        if not _locked(lock, fcntl.LOCK_SH):
            lock.seek(0)
            os.kill(int(lock.read()), signal.SIGTERM)


def state() -> dict[str, Any]:
    """Return what the load is doing, or has done last; ``is_running`` is always there."""
    with LOCK.open("a+") as lock:
        is_running = not _locked(lock, fcntl.LOCK_SH)
    try:
        found = json.loads(TALLY.read_bytes())
    except FileNotFoundError:
        found = {}
    return {**found, "is_running": is_running}


def _locked(lock: IO[str], how: int) -> bool:
    """Lock the file until it is closed, alone or with others who only look; False: a load has."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
