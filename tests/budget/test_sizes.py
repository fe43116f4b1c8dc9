"""The parts of a limit, where they come out even."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.budget.wishes import NO_WISHES

from tonnage.budget.sizes import LEAST_ROOM_BYTES, divide
from tonnage.units import GIB, MIB


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_what_fits_to_the_last_byte_fits(workers: int) -> None:
    """And one worker more does not, nor the same with a byte less."""
    parts = divide(GIB, GIB, None, NO_WISHES)
    exact = replace(parts, limit_bytes=parts.needed_bytes(workers))
    less = replace(exact, limit_bytes=exact.limit_bytes - 1)

    assert exact.room_bytes(workers) == LEAST_ROOM_BYTES
    assert (exact.fits(workers), exact.fits(workers + 1), less.fits(workers)) == (
        True,
        False,
        False,
    )
    assert exact.most_workers(LEAST_ROOM_BYTES) == workers
    assert less.most_workers(LEAST_ROOM_BYTES) == workers - 1
    assert exact.stores_bytes(workers) == 0


def test_no_worker_fits_where_not_even_the_rest_does() -> None:
    """Instead of fewer than none."""
    assert divide(64 * MIB, 64 * MIB, None, NO_WISHES).most_workers(LEAST_ROOM_BYTES) == 0
