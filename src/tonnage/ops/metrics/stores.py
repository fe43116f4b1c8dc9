"""What caches, writers, pools and the like say of themselves, as metrics.

    StoreFigures("cache", "days", counts={"hits": 812}, now={"used_bytes": 31200})

is ``tonnage_cache_hits_total{name="days"}`` and ``tonnage_cache_used_bytes{name="days"}``: the kind
and what is said make the name, so that what a store says tomorrow needs nothing here. What is
counted by reason (``gone_expired``) has one name, and a label for the reason. Pure. Bounded: the
stores that are shown take :data:`MOST_STORE_BYTES` of an answer, first come, first served.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tonnage.ops.metrics.family import NO_LABELS, Family, Labels, counter, gauge, label_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tonnage.ops.figures.records import StoreFigures
    from tonnage.ops.metrics.named import Named

MOST_STORE_BYTES: Final = 60 * 1024

# Of a line with its part of HELP and TYPE, without the store's name.
_LINE_BYTES: Final = 80
_BY_REASON: Final = ("gone",)
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9_]+")


def store_families(stores: Iterable[StoreFigures], named: Named) -> Iterator[Family]:
    """Yield what *stores* say; *named* are those that are shown."""
    counts: dict[tuple[str, str], dict[Labels, float]] = {}
    now: dict[tuple[str, str], dict[Labels, float]] = {}
    for store in stores:
        if not named.has(f"{store.kind} {store.name}", _bytes(store)):
            continue
        for said, into in ((store.counts, counts), (store.now, now)):
            for told, value in said.items():
                what, reason = _parted(told)
                labels = (("name", store.name), *reason)
                into.setdefault((store.kind, what), {})[labels] = value
    for (kind, what), values in sorted(counts.items()):
        yield counter(f"{_name(kind, what)}_total", f"{_told(kind, what)} since the start.", values)
    for (kind, what), values in sorted(now.items()):
        yield gauge(_name(kind, what), f"{_told(kind, what)} now.", values)


def _parted(told: str) -> tuple[str, Labels]:
    """Return what is told without its reason, and that as a label, if it has one."""
    for what in _BY_REASON:
        if told.startswith(f"{what}_"):
            return what, (("reason", told.removeprefix(f"{what}_")),)
    return told, NO_LABELS


def _bytes(store: StoreFigures) -> int:
    lines = len(store.counts) + len(store.now)
    return lines * (_LINE_BYTES + label_bytes(store.name))


def _name(kind: str, what: str) -> str:
    what = what.removeprefix("total_").removesuffix("_total")
    return _NOT_IN_NAMES.sub("_", f"tonnage_{kind}_{what}".lower())


def _told(kind: str, what: str) -> str:
    """Return the beginning of a sentence about it: ``Of each cache: used bytes,``."""
    words = what.removeprefix("total_").removesuffix("_total").replace("_", " ")
    return f"Of each {kind}, by name: {words}"
