"""What a process is told of databases where no server has started it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tonnage.budget.connections import USUAL_CONNECTIONS
from tonnage.db.settings import share


@pytest.mark.parametrize(
    ("together", "expected"), [(None, USUAL_CONNECTIONS), ("6", 3), ("1", 1), ("1000", 5)]
)
def test_a_process_on_its_own_leaves_room_for_the_one_that_takes_its_place(
    together: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says how many there are; no more than usual, whatever all may have together."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TONNAGE_DATABASE_CONNECTIONS", raising=False)
    if together is not None:
        monkeypatch.setenv("TONNAGE_DATABASE_CONNECTIONS", together)

    assert share() == expected
