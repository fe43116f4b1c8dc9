"""What was paid, purchase by purchase: in pages, the latest first.

However long the list is, a page of it costs the same: an index leads to its first row, and no more
rows are loaded than it has. Sums are for ``figures.py``.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from lvlup.database import engine
from lvlup.tables import Purchase
from tonnage import db


async def page_of_purchases(game: str, after: str | None, limit: int) -> dict[str, Any]:
    """Return up to *limit* purchases, and where the next page begins.

    Raises:
        HTTPException: *after* is not the ``next`` of a page; this is answered with 400.
    """
    query = (
        db.only(Purchase, "purchase", "player", "product", "cents", "currency", "at")
        .where(Purchase.game == game)
        .order_by(Purchase.at.desc(), Purchase.purchase.desc())
    )
    async with engine.connect() as connection:
        page = await db.page(connection, query, size=limit, after=after)
    return {"purchases": [_shown(row) for row in page.rows], "next": page.next}


def _shown(row: Any) -> dict[str, Any]:
    # All times are in UTC; SQLite keeps no zones.
    return dict(row._mapping) | {"at": row.at.replace(tzinfo=UTC)}
