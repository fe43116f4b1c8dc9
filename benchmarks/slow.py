"""The application under test behind an import of three seconds: what a large backend takes."""

from __future__ import annotations

import time

from benchmarks.app import app

__all__ = ["app"]

IMPORT_SECONDS = 3.0

time.sleep(IMPORT_SECONDS)
