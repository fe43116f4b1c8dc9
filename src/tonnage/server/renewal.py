"""The application, imported anew: for new code, or because the zygote has ended.

Nothing waits for an import: it goes on in a process of its own, and workers go on meanwhile. One
that fails is told, and tried again. Zygotes are made and ended by :mod:`tonnage.server.nursery`,
workers are replaced by :mod:`tonnage.server.recycling`. While the server stops nothing is imported.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from tonnage.errors import TonnageError, WorkerError
from tonnage.governor.recycle import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import SharedPage
    from tonnage.server.nursery import Nursery
    from tonnage.server.reactor import Reactor
    from tonnage.server.recycling import Recycler
    from tonnage.server.reload import SourceWatch
    from tonnage.server.zygote import Zygote

logger = logging.getLogger("tonnage.supervisor")

#: How long to wait before an import that failed while the server runs is tried again.
RETRY_SECONDS: Final = 5.0
# An import takes more for a moment than what is left of it.
_IMPORT_FACTOR: Final = 1.5


class Renewal:
    """Has the application imported, and workers replaced where they are to have the new code."""

    def __init__(
        self,
        page: SharedPage,
        reactor: Reactor,
        nursery: Nursery,
        recycler: Recycler,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._page = page
        self._reactor = reactor
        self._nursery = nursery
        self._recycler = recycler
        self._clock = clock
        # Once the new code is imported, workers are to follow.
        self._are_to_follow = False
        self._retry_at: float | None = None

    def begin(self, *, beside: bool = False) -> None:
        """Begin to import; workers made after that have the new code.

        *beside*: the present zygote goes on until the new one is ready.
        """
        if self._page.header.stopping:
            return
        if self._nursery.pending is not None:
            self._reactor.unregister(self._nursery.pending.channel)
        try:
            zygote = self._nursery.begin(beside=beside)
        except WorkerError as error:
            self._put_off(error)
            return
        if zygote is not None:
            self._reactor.register(zygote.channel, partial(self._on_imported, zygote))

    def on_hangup(self) -> None:
        """SIGHUP: import the application anew, then replace every worker in its turn."""
        if self._page.header.stopping:
            return
        if not self._nursery.preload:
            count = self._want_all()
            logger.info("SIGHUP: %d worker(s) are replaced, each of which imports anew", count)
            return
        beside = self._fits_beside()
        logger.info(
            "SIGHUP: importing the application anew%s; then every worker is replaced",
            "" if beside else ", after ending the zygote, since both do not fit",
        )
        self._are_to_follow = True
        self.begin(beside=beside)

    def reload_if_changed(self, source: SourceWatch) -> None:
        """Import anew if *source* has changed; then replace every worker in its turn.

        In turn, since a new one whose startup fails leaves the one before it serving.
        """
        changed = source.changed()
        if changed is None or self._page.header.stopping:
            return
        logger.info("%s changed: importing the application anew", changed)
        if self._nursery.preload:
            self._are_to_follow = True
            self.begin(beside=self._fits_beside())
        else:
            self._want_all()

    def tend(self) -> None:
        """End an import that takes too long, and try again where one has failed; regularly."""
        now = self._clock()
        self._nursery.end_overdue(now)
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            if self._nursery.is_missing:
                self.begin()

    def _on_imported(self, zygote: Zygote) -> None:
        self._reactor.unregister(zygote.channel)
        try:
            self._nursery.finish()
        except TonnageError as error:
            self._put_off(error)
            return
        follow, self._are_to_follow = self._are_to_follow, False
        if follow:
            self._want_all()

    def _put_off(self, error: TonnageError) -> None:
        """Tell of an import that has failed, and try again later; what serves goes on."""
        follow, self._are_to_follow = self._are_to_follow, False
        logger.error("%s%s", error, "; the old code goes on serving" if follow else "")
        self._retry_at = self._clock() + RETRY_SECONDS

    def _want_all(self) -> int:
        return self._recycler.want_all(Reason.NEW_CODE)

    def _fits_beside(self) -> bool:
        """Return whether there is room for a second zygote beside the present one."""
        header = self._page.header
        free_bytes = header.limit_bytes - header.used_bytes
        return free_bytes > header.zygote_pss_bytes * _IMPORT_FACTOR
