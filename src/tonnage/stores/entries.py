"""One entry of a cache; which of them stay :mod:`tonnage.stores.s3fifo` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable


class Entry:
    """One value, with all that the cache knows of it.

    It has no ``__init__``: that would cost more than all else that a set does.

    Attributes:
        key: what it is found by.
        value: what is found.
        weight: what both take, in bytes, with what the cache itself takes for them.
        uses: how often it was asked for since it came, or since it was last let off for it.
        expires_seconds: until when it is good; None: for as long as it stays.
        tags: what it may be invalidated by.
        place: in which queue it stands, as S3-FIFO counts; 0: nowhere any more.
    """

    __slots__ = ("expires_seconds", "key", "place", "tags", "uses", "value", "weight")

    key: Hashable
    value: Any
    weight: int
    uses: int
    expires_seconds: float | None
    tags: tuple[str, ...]
    place: int
