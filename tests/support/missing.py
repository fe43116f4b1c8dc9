"""What a test does where something that it needs is missing: it is skipped, but not under CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def give_up(what: str, reason: str) -> NoReturn:
    """Skip the test that needs *what*, and say why; fail instead where ``CI`` is ``true``."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is needed under CI: {reason}")
    pytest.skip(f"needs {what}: {reason}")
