"""What the costly route of each application does."""

from __future__ import annotations

import time

_MIB = 2**20
_PAGE_BYTES = 4096


def hold(mb: int, ms: int, late_ms: int = 0) -> int:
    """Wait *late_ms*, touch *mb* MB, hold them *ms*, and return how many there were."""
    time.sleep(late_ms / 1000)
    block = bytearray(mb * _MIB)
    block[::_PAGE_BYTES] = b"\x01" * (len(block) // _PAGE_BYTES)
    time.sleep(ms / 1000)
    return len(block) // _MIB
