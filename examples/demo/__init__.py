"""The demonstration: four backends behind one server, and loads to try it with."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("DEMO_DATA", HERE / "data")).resolve()
"""Where all that the demonstration keeps is."""
