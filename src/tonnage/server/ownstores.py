"""What a worker has the application's stores do: begin, go on while it is idle, and finish.

Only what the application has imported is there: a worker without stores pays nothing for them.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

# How often security events that are too old are erased.
_SWEEP_SECONDS: Final = 60.0


class OwnStores:
    """The stores of this process."""

    def __init__(self, now_seconds: float) -> None:
        self._swept_at = now_seconds

    def begin(self) -> None:
        """Let writers begin that may have something to do from a process before."""
        if "tonnage.stores.background" in sys.modules:
            from tonnage.stores.background import begin

            begin()

    def beat(self, now_seconds: float) -> None:
        """Do what is due, also where nobody asks them for anything; some times a second."""
        if "tonnage.stores.bulletin" in sys.modules:
            from tonnage.stores.bulletin import catch_up_all

            catch_up_all()
        if now_seconds - self._swept_at >= _SWEEP_SECONDS:
            self._swept_at = now_seconds
            if "tonnage.stores.security.events" in sys.modules:
                from tonnage.stores.security.events import sweep

                sweep()

    async def close(self, seconds: float) -> None:
        """Let writers and their like finish, within *seconds*; no request runs now.

        In a thread of its own: what they have in this event loop is closed there.
        """
        if "tonnage.stores.background" in sys.modules:
            from tonnage.stores.background import close

            with ThreadPoolExecutor(1) as closing:
                await asyncio.get_running_loop().run_in_executor(closing, close, seconds)
