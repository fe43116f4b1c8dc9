"""What time it is: now; or always the moment that ``FITFLIX_NOW`` names, for tests."""

from __future__ import annotations

import os
from datetime import UTC, datetime


def now() -> datetime:
    """Return the time, in UTC."""
    fixed = os.environ.get("FITFLIX_NOW")
    return datetime.fromisoformat(fixed).astimezone(UTC) if fixed else datetime.now(UTC)
