"""A server of its own for each test: shared memory that nobody has written to."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def nothing_was_noted(own_commons: None) -> None:
    """Have shared memory made anew when it is first asked for."""
