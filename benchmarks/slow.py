"""The application under test behind an import of three seconds: what a large backend takes.

``IMPORT_SECONDS`` in the environment is another time.
"""

from __future__ import annotations

import os
import time

from benchmarks.app import app

__all__ = ["app"]

IMPORT_SECONDS = float(os.environ.get("IMPORT_SECONDS", "3"))

time.sleep(IMPORT_SECONDS)
