"""How many processors this process may keep busy.

The lower of its affinity and the quota of its cpu cgroup and that group's parents. The host's own
count is never asked where the affinity is known: counting the host's processors inside a small
container is how a server ends up with 129 workers in 512 MB.

Sources: sched_setaffinity(2); ``admin-guide/cgroup-v2.rst`` (cpu.max);
``scheduler/sched-bwc.rst`` (cpu.cfs_quota_us).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tonnage.host.cgroups import CpuCgroup, cpu_cgroups


@dataclass(frozen=True, slots=True)
class Cpus:
    """A number of processors and who sets it.

    Attributes:
        count: Processors' worth of time; a quota can make it a fraction, such as 0.5.
        source: "cpu affinity", or "cgroup v2 cpu.max of /app".
    """

    count: float
    source: str

    @property
    def whole(self) -> int:
        """The processes that can run without taking turns: rounded down, but at least 1.

        Down, because a third process on 2.5 processors costs its memory in full and makes all
        three wait for the end of the quota's period.
        """
        return max(1, int(self.count))


def read_affinity() -> int:
    """Return how many processors this process may be scheduled on; elsewhere the host's count."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def discover_cpus(root: Path = Path("/"), affinity: Callable[[], int] = read_affinity) -> Cpus:
    """Return the lower of the affinity and every cgroup quota on the way up."""
    lowest = Cpus(float(affinity()), "cpu affinity")
    for group in cpu_cgroups(root):
        quota = _quota(group)
        if quota is not None and quota.count < lowest.count:
            lowest = quota
    return lowest


def _quota(group: CpuCgroup) -> Cpus | None:
    """Return what the group's quota allows; None where it sets none or cannot be read."""
    try:
        if group.version == 2:
            file = "cpu.max"
            quota, period = (group.path / file).read_text(encoding="ascii").split()
        else:
            file = "cpu.cfs_quota_us"
            quota = (group.path / file).read_text(encoding="ascii").strip()
            period = (group.path / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    # "max" and "-1" both mean no quota, and neither is a plain number.
    if not (quota.isdecimal() and period.isdecimal() and int(quota) and int(period)):
        return None
    return Cpus(int(quota) / int(period), f"cgroup v{group.version} {file} of {group.name}")
