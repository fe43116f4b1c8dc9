"""What a plan is made with where nobody has wished for anything."""

from __future__ import annotations

from tonnage.budget.sizes import Wishes
from tonnage.units import MIB

NO_WISHES = Wishes(
    workers=None,
    workers_source="--workers",
    workers_strict=True,
    clustering=None,
    threads=16,
    queue_requests=None,
    free_floor_bytes=16 * MIB,
    exhausted_bytes=0,
    preload=True,
)
