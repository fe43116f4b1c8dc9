"""Which request is being served: its id, for each line that is logged meanwhile.

The path sets it where request ids are on (:mod:`tonnage.web.path.requestid`). It is a context
variable: tasks that the request starts have it, and threads that are given the context, as by
frameworks and ``asyncio.to_thread``; not a ``threading.Thread``, and none of ``run_in_executor``.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

current: Final[ContextVar[str | None]] = ContextVar("tonnage_request_id", default=None)


def request_id() -> str | None:
    """Return the id of the request that is being served here; None: no request, or ids are off."""
    return current.get()
