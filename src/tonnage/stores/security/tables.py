"""Where counts and blocks are kept: two tables of fixed size that all workers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.rates.clients import Clients
from tonnage.rates.table import shared_table

if TYPE_CHECKING:
    from tonnage.rates.table import RateTable

#: Clients and users that are counted at once, for each rule; 16 bytes each.
MOST_COUNTS: Final = 16_384
#: Clients that are blocked at once.
MOST_BLOCKS: Final = 4096


def counts_table() -> RateTable:
    """Return the table of what clients and users have failed."""
    return shared_table("security counts", MOST_COUNTS)


def blocks_table() -> RateTable:
    """Return the table that says until when clients are blocked."""
    return shared_table("security blocks", MOST_BLOCKS)


def open_clients() -> Clients:
    """Return what makes keys and pseudonyms, the same ones in all processes."""
    return Clients(counts_table().secret)
