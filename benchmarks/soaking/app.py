"""The demonstration over PostgreSQL: what the soak serves. For a server, and for nobody else.

Three of its backends ask for *the* database (``DATABASE_URL``). So each is imported while that is
its own (``FITFLIX_DATABASE_URL``, and so on); the demonstration finds them imported, and mounts
them as they are.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import replace
from pathlib import Path

from tonnage.db import settings

__all__ = ["app"]

_EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

_told = settings.current()
for _name in ("fitflix", "lvlup", "fibuca"):
    sys.path.append(str(_EXAMPLES / _name))
    settings.use(replace(_told, database_url=os.environ[f"{_name.upper()}_DATABASE_URL"]))
    importlib.import_module(f"{_name}.app")
settings.use(_told)

from examples.demo.app import app  # noqa: E402  # it imports them too
