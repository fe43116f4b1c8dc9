"""What the supervisor shows to operators, by path; and the page's buttons, below ``/act``.

    views = Views("/tonnage")
    views.add({"/metrics": lambda query: Answer(200, ...)})

A view gets the query of a GET as it was sent, and raises
:class:`~tonnage.ops.query.QueryError` where that makes no sense. It is called in the supervisor's
loop, so it has to be quick. Promises that one which fails does not end the server. Who may look is
decided by whoever asks here; actions themselves are :mod:`tonnage.server.actions`'.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tonnage.ops.answers import NO_OTHER_SITE, problem, who_may, wrong_method
from tonnage.ops.places import ACT, PAGE_PATH
from tonnage.ops.query import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tonnage.answer import Answer
    from tonnage.server.conversation import Head

logger = logging.getLogger("tonnage.supervisor")

_FORBIDDEN: Final = who_may("this is shown", NO_OTHER_SITE, "after a log-in")


class Views:
    """The views by path, and where the page's buttons are.

    Args:
        page_path: where the page is besides; empty: nowhere else.
    """

    def __init__(self, page_path: str = "") -> None:
        # Few, and known when the server starts.
        self._by_path: dict[str, Callable[[str], Answer]] = {}
        self._acts = tuple({f"{path}{ACT}" for path in (PAGE_PATH, page_path) if path})

    def add(self, views: Mapping[str, Callable[[str], Answer]]) -> None:
        """Show *views* from now on."""
        self._by_path.update(views)

    def has(self, path: str) -> bool:
        """Return whether something is shown at *path*."""
        return path in self._by_path

    def pressed(self, head: Head) -> Head | None:
        """Return the action's own request, where *head* is that of a button; else None."""
        for act in self._acts:
            if head.path.startswith(act):
                # As it is below /act, so it is where the control socket has it.
                return replace(head, target=head.target[len(act) - 1 :])
        return None

    def answer(self, head: Head, *, allowed: bool) -> Answer:
        """Return what is shown at the path of *head*, which must be there, if that is *allowed*."""
        if not allowed:
            return problem(403, "forbidden", _FORBIDDEN)
        if head.method not in ("GET", "HEAD"):
            return wrong_method("GET, HEAD")
        try:
            return self._by_path[head.path](head.query)
        except QueryError as error:
            return problem(400, "bad_request", str(error))
        except Exception:  # to look at a server may not end it
            logger.exception("GET %s failed", head.path)
            detail = "this cannot be shown; the server goes on, and its log has the reason"
            return problem(500, "internal_error", detail)
