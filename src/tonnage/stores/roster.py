"""The names of a server's caches, wherever they were made: for operators who ask for one of them.

    enter("events")                    # whoever makes a cache, in any process
    others_than("evnets")              # ["events"]: there is none of that name

Promises: what one process has entered, all see, the supervisor too, and without a lock. A name
stays, also when its cache is gone: a worker that comes makes it again. Where a name is too long or
there are too many, no name counts as unknown any more.

Bounded: :data:`MOST_NAMES` of :data:`LONGEST_BYTES`, in 16 KB of shared memory, of which only
written pages count.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tonnage.host.commons import open_commons

if TYPE_CHECKING:
    from tonnage.host.commons import Commons, Region

MOST_NAMES: Final = 127
LONGEST_BYTES: Final = 127

_RECORD_BYTES: Final = 128  # how long the name is, and the name
# The words of the first record: how many names there are; whether one is missing.
_COUNT, _IS_SHORT = range(2)


def enter(name: str) -> None:
    """Have *name* be known to all processes of this server."""
    region, data = _region(open_commons()), name.encode(errors="surrogatepass")
    with region.locked():
        count = region.words[_COUNT]
        if name in _names(region, count):
            return
        if len(data) > LONGEST_BYTES or count >= MOST_NAMES:
            region.words[_IS_SHORT] = 1
            return
        at = (1 + count) * _RECORD_BYTES
        region.bytes[at : at + 1 + len(data)] = bytes((len(data),)) + data
        # Last: with that it counts.
        region.words[_COUNT] = count + 1


def others_than(name: str) -> list[str]:
    """Return the names that there are, in order, if *name* is none of them.

    Nothing where it is one, where not all names are known, and where there is no cache yet: one may
    be made at any time.
    """
    region = _region(open_commons())
    names = _names(region, region.words[_COUNT])
    return [] if name in names or region.words[_IS_SHORT] else sorted(names)


# Opened once, as that takes a lock.
@lru_cache(maxsize=1)
def _region(commons: Commons) -> Region:
    return commons.share("cache names", (1 + MOST_NAMES) * _RECORD_BYTES)


def _names(region: Region, count: int) -> list[str]:
    found = []
    for at in range(_RECORD_BYTES, (1 + count) * _RECORD_BYTES, _RECORD_BYTES):
        data = bytes(region.bytes[at + 1 : at + 1 + region.bytes[at]])
        found.append(data.decode(errors="surrogatepass"))
    return found
