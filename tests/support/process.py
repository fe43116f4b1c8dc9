"""What the kernel says of a process that tests hold."""

from __future__ import annotations

import resource
from pathlib import Path


def is_stopped(pid: int) -> bool:
    """Return whether process *pid* is stopped."""
    # The command's name, in parentheses, may itself hold spaces and parentheses.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0] == "T"


def data_limit(pid: int) -> int:
    """Return the soft limit of the data of process *pid* (0: this one), in bytes."""
    return resource.prlimit(pid, resource.RLIMIT_DATA)[0]
