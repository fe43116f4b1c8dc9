"""Seals on what goes through the task queue: made with a key that only the application has.

A pickled value can run any code where it is loaded, and a ticket names the function to run. So
whoever can write to the queue's Redis could run code in every process of the application. With
``TONNAGE_JOB_KEY`` set, tickets, arguments and results without the right seal are refused, before
anything of them is loaded; without it the seal only shows what was damaged on its way.

Promises: HMAC-SHA256, compared in constant time; what is sealed is bound to its job, so that
it cannot stand in for another's. Does not keep anything secret, and does not stop anybody from
putting an old ticket on the queue once more.
"""

from __future__ import annotations

import hmac
import json
from typing import Any


class Sealer:
    """Makes and checks seals.

    Args:
        key: the secret; None: there is none.
    """

    def __init__(self, key: str | None) -> None:
        self._key = (key or "").encode()

    def seal(self, *parts: Any) -> str:
        """Return the seal of *parts*, which JSON can hold."""
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hmac.digest(self._key, text.encode(), "sha256").hex()

    def fits(self, seal: object, *parts: Any) -> bool:
        """Return whether *seal* is that of *parts*."""
        return isinstance(seal, str) and hmac.compare_digest(
            seal.encode(), self.seal(*parts).encode()
        )

    def __repr__(self) -> str:
        return f"<Sealer: {'with' if self._key else 'without'} a key>"
