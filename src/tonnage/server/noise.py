"""What clients can have logged, once for each request, though the application did no wrong.

Promises that a client which goes in the middle of its body, or is cut there, writes no traceback,
and that a response which a limit of ours has cut is not called an error of the application besides:
both are lowered to DEBUG. Connections that we end are counted and summed up by the
:class:`~tonnage.server.sweeper.Sweeper`; of a response that is cut, the limit tells: of the first
:data:`MOST_WARNINGS` in :data:`LOG_SECONDS`, and then how many more there were.

Hides nothing else: any other error is logged as it was, also of a request whose client has gone.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from tonnage.web.respond import was_cut

if TYPE_CHECKING:
    from collections.abc import Callable

LOG_SECONDS: Final = 10.0
MOST_WARNINGS: Final = 10
"""Warnings of one kind about requests that a worker logs in so many seconds."""

_logger: Final = logging.getLogger("uvicorn.error")
_requests: Final = logging.getLogger("tonnage.requests")
_worker: Final = logging.getLogger("tonnage.worker")
_NOT_COMPLETED: Final = "ASGI callable returned without completing response."
# uvicorn's, of each `Upgrade: h2c`: clients of HTTP/2 ask so with a connection's first request.
_NO_UPGRADE: Final = "Unsupported upgrade request."


class Noise(logging.Filter):
    """Lowers what clients cause to DEBUG, and leaves the warnings of upgrades to :class:`Flood`.

    Of all else that is logged there nothing is left out: applications use uvicorn's logger, too.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* is shown."""
        if record.msg == _NO_UPGRADE:
            return flood.filter(record)
        if record.levelno != logging.ERROR or not _is_noise(record):
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return _logger.isEnabledFor(logging.DEBUG)


class Flood(logging.Filter):
    """Leaves out warnings about requests beyond the first of their kind, and sums them up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._began_seconds = clock()
        # By their text without what is put into it: as many as the code has.
        self._shown: Counter[str] = Counter()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* is shown."""
        if record.levelno != logging.WARNING or _requests.isEnabledFor(logging.DEBUG):
            return True
        self.tick()
        kind = str(record.msg)
        self._shown[kind] += 1
        is_shown = self._shown[kind] <= MOST_WARNINGS
        self._left_out += not is_shown
        return is_shown

    def tick(self) -> None:
        """Sum up if it is time; to be called now and then."""
        now = self._clock()
        if now - self._began_seconds < LOG_SECONDS:
            return
        left_out, self._left_out = self._left_out, 0
        self._began_seconds = now
        self._shown.clear()
        if left_out:
            _worker.warning("%d more warning(s) like the last ones were left out", left_out)


#: That of this process.
flood: Final = Flood()
_noise: Final = Noise()


def hush() -> None:
    """Lower and leave out from now on; once is enough, and more does nothing."""
    _logger.addFilter(_noise)
    _requests.addFilter(flood)


def _is_noise(record: logging.LogRecord) -> bool:
    if record.msg == _NOT_COMPLETED:
        return was_cut.get()
    return record.exc_info is not None and _tells_of_client(record.exc_info[1])


def _tells_of_client(error: BaseException | None) -> bool:
    """Return whether *error* says that the client has gone, and nothing beside."""
    if isinstance(error, BaseExceptionGroup):
        return all(_tells_of_client(each) for each in error.exceptions)
    requests = sys.modules.get("starlette.requests")
    return requests is not None and isinstance(error, requests.ClientDisconnect)
