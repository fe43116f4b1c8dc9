"""A server of its own for each test: shared memory that nobody has written to."""

from __future__ import annotations

import pytest

from tonnage.host import commons


@pytest.fixture(autouse=True)
def fresh_commons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have shared memory made anew when it is first asked for."""
    monkeypatch.setattr(commons, "_commons", None)
