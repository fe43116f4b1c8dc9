"""The books: who holds how much of the memory in use. The one rule for all that show it.

Use is known at this moment, and so is what workers have of their own and what jobs hold: both are
read with each look. The shares of the supervisor, of the zygote and of what workers share are
older, since one process is measured at a time; after much was given back, and where pages are
charged to others, the parts can come to more than is used. :func:`balanced` corrects that,
:func:`measured` shows it.

Pure. Promises parts that add up to what is used, to the byte. Does not know the file cache, which
is not used but kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tonnage.governor.statistics import Statistics

#: What is estimated, and may be some seconds old.
_OLDER: Final = ("supervisor", "zygote", "workers_shared")
_OF_NOW: Final = ("workers_own", "jobs")

#: Who holds memory, in the order in which it is shown.
PARTS: Final = (*_OLDER, *_OF_NOW, "unexplained")


def measured(now: Statistics) -> dict[str, int]:
    """Return the bytes of each of :data:`PARTS`, as they were measured.

    ``unexplained`` is the rest, and less than nothing where the shares come to more than is used:
    that tells how well the books are kept.
    """
    shared = (max(0, each.pss_bytes - max(0, each.held_bytes)) for each in now.workers)
    held = {
        "supervisor": now.supervisor_pss_bytes,
        "zygote": now.zygote_pss_bytes,
        "workers_shared": sum(shared),
        # Not the sum of what each of them says of itself, at another moment.
        "workers_own": now.workers_own_bytes,
        "jobs": now.jobs.held_bytes,
    }
    return {**held, "unexplained": now.used_bytes - sum(held.values())}


def balanced(now: Statistics) -> dict[str, int]:
    """Return the bytes of each of :data:`PARTS`, none of them less than nothing.

    Where they would come to more than is used, the older figures give way in proportion; then,
    should what is known of this moment be too much alone, that does.
    """
    held = measured(now)
    held["unexplained"] = max(0, held["unexplained"])
    for names in (_OLDER, _OF_NOW):
        _shrink(held, names, sum(held.values()) - now.used_bytes)
    return held


def _shrink(held: dict[str, int], names: tuple[str, ...], excess_bytes: int) -> None:
    """Take *excess_bytes* from *names* in *held*, in proportion, as far as they have it."""
    before = sum(held[name] for name in names)
    if excess_bytes <= 0 or not before:
        return
    left = max(0, before - excess_bytes)
    for name in names[:-1]:
        held[name] = held[name] * left // before
    held[names[-1]] = left - sum(held[name] for name in names[:-1])
