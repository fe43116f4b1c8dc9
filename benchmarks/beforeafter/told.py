"""What Tonnage says of itself during a run, as ``/tonnage/state`` has it.

    told = Told()
    told.note(state)           # now and then; the last one as the load ends
    told.figures()

Pure. A backend that says nothing has no figures: what is not known is not zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Told:
    """Counts as they were told last, and sizes as they were at most."""

    def __init__(self) -> None:
        self._stores: list[Mapping[str, Any]] = []
        self._most: dict[str, float] = {}

    def note(self, state: Mapping[str, Any]) -> None:
        """Note one state of the server."""
        self._stores = state["stores"]
        if state["status"]["jobs"]["started"]:
            self._note_most("job_bytes", state["status"]["jobs"]["held_bytes"])
        if logs := self._of("logs"):
            self._note_most("log_queue_bytes", sum(each["now"]["queued_bytes"] for each in logs))
        beating = {each["name"] for each in self._of("heartbeats")}
        if writers := self._of("writer"):
            self._note_most("writer_bytes", _used(writers))
        if beating:
            # They are kept by a writer of that name, until the database has them.
            self._note_most(
                "heartbeat_bytes", _used(each for each in writers if each["name"] in beating)
            )

    def figures(self) -> dict[str, float]:
        """Return what is known, by the figure's name."""
        found = dict(self._most)
        caches, writers = self._counts("cache"), self._counts("writer")
        if asked := caches.get("hits", 0) + caches.get("stale_hits", 0) + caches.get("misses", 0):
            beyond = caches["shared_hits"] + caches["redis_hits"]
            found["cache_hits_share"] = (asked - caches["misses"] + beyond) / asked
        if added := writers.get("added"):
            found["dropped_share"] = writers["dropped"] / added
        return found

    def _of(self, kind: str) -> list[Mapping[str, Any]]:
        return [store for store in self._stores if store["kind"] == kind]

    def _counts(self, kind: str) -> dict[str, float]:
        """Return the counts of all stores of *kind*, added up."""
        sums: dict[str, float] = {}
        for store in self._of(kind):
            for name, count in store["counts"].items():
                sums[name] = sums.get(name, 0) + count
        return sums

    def _note_most(self, name: str, value: float) -> None:
        self._most[name] = max(self._most.get(name, 0), value)


def _used(stores: Iterable[Mapping[str, Any]]) -> float:
    return float(sum(each["now"]["used_bytes"] for each in stores))
