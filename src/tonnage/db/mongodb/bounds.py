"""How much a query may load of MongoDB's documents, and how errors show the query. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tonnage.db.guard.tally import Tally
from tonnage.db.mongodb.batches import Sizes
from tonnage.db.mongodb.events import keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one query may load; None: as much as there is.

    Attributes:
        max_documents: how many documents.
        max_bytes: how large they may be together.
        mode: ``stop``, ``warn`` or ``off``.
        sizes: how large documents were, shared by all queries of a pool.
    """

    max_documents: int | None
    max_bytes: int | None
    mode: str
    sizes: Sizes = field(default_factory=Sizes, repr=False)

    @property
    def is_off(self) -> bool:
        """Whether nothing is counted."""
        return self.mode == "off"

    def tally(self, statement: str) -> Tally:
        """Return what counts one query's documents."""
        return Tally(statement, self.max_documents, self.max_bytes, self.mode, advice=ADVICE)


ADVICE = (
    "add a limit(), read pages (collection.page), take them one by one with `async for`, or allow"
    " it with find(..., max_documents=..., max_bytes=...)"
)


def shown_find(collection: str, spec: Mapping[str, Any]) -> str:
    """Return a query on *collection* with the filter *spec*, without any value."""
    return f"find {collection} {keys(spec)}".rstrip()


def shown_pipeline(collection: str, pipeline: object) -> str:
    """Return an aggregation on *collection* by the names of its stages."""
    stages = pipeline if isinstance(pipeline, list) else []
    names = [str(next(iter(stage), "")) for stage in stages[:8] if isinstance(stage, dict)]
    return f"aggregate {collection} [{', '.join(names)}]"
