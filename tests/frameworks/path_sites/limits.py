"""What all sites here have in common: their limits, their bodies, and what they take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from tonnage.web.path.uploads import Uploads

LIMITS: Final[dict[str, Any]] = {
    "max_body": "1K",
    "max_upload": "4K",
    "max_response": "10K",
    "compress": True,
    "remove_headers": ["x-powered-by"],
    "cors_origins": ["https://shop.example"],
    "routes": {"GET /limited": {"rate_limit": "1/1h"}, "GET /events": {"stream": True}},
}
#: For those who can keep it.
SLOW: Final = {"GET /slow": {"timeout": "200ms"}}

TEXT: Final = "what is said often is soon said briefly\n" * 100
LARGE: Final = "a" * 20_000
PIECES: Final = 20

uploads = Uploads(max_bytes="2K", types=["image/png"])


def pieces() -> Iterator[bytes]:
    """Yield 20 KB, a piece at a time."""
    for _ in range(PIECES):
        yield b"a" * 1000
        # In packets of their own: what was sent before a cut is to arrive.
        time.sleep(0.001)
