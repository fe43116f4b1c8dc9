"""The application under test with pandas (and so numpy) imported: what a data backend weighs."""

from __future__ import annotations

import pandas as pd

from benchmarks.app import app

__all__ = ["app", "pd"]
