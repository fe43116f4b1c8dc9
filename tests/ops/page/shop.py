"""The application of the benchmarks, with a cache."""

from __future__ import annotations

from benchmarks.app import app

from tonnage import Cache

__all__ = ["app"]

goods: Cache[int] = Cache("goods", max_bytes="1 MB")


@app.get("/goods/{number}")
async def good(number: int) -> int:
    """Keep the number."""
    goods.set(str(number), number)
    return number
