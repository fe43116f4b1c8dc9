"""The owner of jobs where no server of ours runs: a small process, started with the first job.

For gunicorn, uvicorn, scripts and tests, so that a job is the same there. It is
``python -m tonnage.server.jobs.elsewhere FD``, finds the memory limit by itself, and ends when this
process does. What it says is read in the stores' thread (:mod:`tonnage.stores.background`).

Promises one such process for each that asks for jobs; a new one when it was lost.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tonnage.jobs.caller import Caller
from tonnage.jobs.importpath import with_import_path
from tonnage.jobs.messages import OWNERS
from tonnage.jobs.outcomes import busy
from tonnage.stores.background import background

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.host.channel import Channel
    from tonnage.jobs.messages import FromCaller, ToCaller

MODULE: Final = "tonnage.server.jobs.elsewhere"
_END_SECONDS: Final = 2.0


def start(on_gone: Callable[[Caller], None]) -> Caller:
    """Start the process and return the way to it; *on_gone* is called when it has ended.

    Raises:
        JobBusyError: it could not be started.
    """
    try:
        ours, theirs = OWNERS.pair()
        try:
            process = _start(theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
    except OSError as error:
        raise busy(f"work cannot be taken on now ({error.strerror})") from error
    ours.setblocking(False)
    link = _Link(ours, process, on_gone)
    link.begin()
    return link.caller


class _Link:
    """What there is of the process here."""

    def __init__(
        self,
        channel: Channel[FromCaller, ToCaller],
        process: subprocess.Popen[bytes],
        on_gone: Callable[[Caller], None],
    ) -> None:
        self.caller = Caller(channel.send)
        self._channel = channel
        self._process = process
        self._on_gone = on_gone

    def begin(self) -> None:
        """Read what it says, from now on."""
        background().call(background().loop.add_reader, self._channel.fileno(), self._read)
        background().on_close(self._close)

    def _read(self) -> None:
        try:
            for message in self._channel.messages():
                self.caller.on_message(message)
        except EOFError:
            self._end("the process that has jobs run is gone")

    async def _close(self) -> None:
        self._end("the process ends")

    def _end(self, why: str) -> None:
        background().loop.remove_reader(self._channel.fileno())
        background().forget(self._close)
        self._on_gone(self.caller)
        self.caller.lose(why)
        # It ends when its channel does.
        self._channel.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)


def _start(theirs: Channel[ToCaller, FromCaller]) -> subprocess.Popen[bytes]:
    # What this process can import, jobs can too.
    environment = with_import_path(os.environ, [path or os.getcwd() for path in sys.path])
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        env=environment,
        pass_fds=(theirs.fileno(),),
    )
