"""A page of a list: some rows, and how to go on from them; of SQL databases and of MongoDB.

Imports nothing of databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tonnage.db.paging.web import link_header, plain_items

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list, and how to go on from them."""

    #: Where one thing is selected, as an entity, that thing; else rows with its columns.
    rows: Sequence[T]
    #: For ``after=``: what comes after these rows; None: nothing does, now.
    next: str | None
    #: For ``before=``: what comes before these rows; None: nothing does.
    previous: str | None
    #: How many rows it could have.
    size: int

    def body(self) -> dict[str, Any]:
        """Return what a client gets: ``items``, ``next`` and ``previous``."""
        return {"items": plain_items(self.rows), "next": self.next, "previous": self.previous}

    def links(self, url: str) -> str:
        """Return the value of a ``Link`` header; *url* is that of this page, and may be relative.

        Empty where there is no page before or after.
        """
        return link_header(
            url,
            {
                "next": {"after": self.next} if self.next else None,
                "prev": {"before": self.previous} if self.previous else None,
            },
        )
