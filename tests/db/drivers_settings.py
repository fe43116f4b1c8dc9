"""What the options say by default, and otherwise, for tests of what drivers are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tonnage.config import load_settings
from tonnage.settings import DatabaseSettings


def options(**changed: Any) -> DatabaseSettings:
    """Return the defaults, with fields *changed*."""
    return replace(load_settings({}, {}, Path("/")).databases, **changed)
