"""The option table: every setting Tonnage has, written once.

Flags, environment variables, the ``[tool.tonnage]`` table of pyproject.toml, ``--help`` and the
reference page in the documentation all derive from `OPTIONS`. Here options are described, and what
makes sense as a value of each; :mod:`tonnage.config` finds the values.

To add an option: one entry in the module of its group, one field of the same name in the record of
its group in :mod:`tonnage.settings`, and ``make docs``.
"""

from __future__ import annotations

from tonnage.options import (
    admission,
    application,
    databases,
    jobs,
    memory,
    network,
    processes,
    requests,
    stores,
    telling,
)
from tonnage.options.option import Option

__all__ = ["GROUPS", "OPTIONS", "Option"]

GROUPS = {
    "app": "Application",
    "listen": "Network",
    "memory": "Memory",
    "process": "Processes",
    "recycling": "Recycling",
    "admission": "Admission and health",
    "path": "Requests and responses",
    "stores": "Stores",
    "databases": "Databases",
    "jobs": "Jobs and images",
    "logging": "Logging",
    "reports": "Reports and alerts",
}

OPTIONS: tuple[Option, ...] = (
    *application.OPTIONS,
    *network.OPTIONS,
    *memory.OPTIONS,
    *processes.OPTIONS,
    *admission.OPTIONS,
    *requests.OPTIONS,
    *stores.OPTIONS,
    *databases.OPTIONS,
    *jobs.OPTIONS,
    *telling.OPTIONS,
)
