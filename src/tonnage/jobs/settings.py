"""What the options say of jobs, for application code: in a worker, and under any other server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.config import Applied

if TYPE_CHECKING:
    from tonnage.settings import JobSettings

_jobs: Applied[JobSettings] = Applied(lambda settings: settings.jobs)

use = _jobs.use
current = _jobs.current
