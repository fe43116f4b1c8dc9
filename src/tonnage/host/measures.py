"""What each meter of :mod:`tonnage.host.usage` measures, in the words that people see."""

from __future__ import annotations

from typing import Final

WORKING_SET: Final = "cgroup working set"
OWN_PSS: Final = "PSS of our processes"
HOST_IN_USE: Final = "host MemTotal - MemAvailable"

#: The shared page holds the index.
MEASURES: Final = ("not yet measured", WORKING_SET, OWN_PSS, HOST_IN_USE)
