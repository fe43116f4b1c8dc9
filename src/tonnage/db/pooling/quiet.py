"""Whether a connection that rested can be used: without asking the server. No promises beyond that.

A server that ends, or that ends a connection, says so on its socket; whoever rests has nothing else
to hear. A server that is gone without a word is found out by TCP, or by the next statement.
"""

from __future__ import annotations

import select


def is_quiet(descriptor: int) -> bool:
    """Return whether nothing is to be read at the socket *descriptor*, not even its end."""
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)
