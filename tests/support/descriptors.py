"""A process that has as many files open as it may."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_descriptor_free() -> Iterator[None]:
    """Have this process be unable to open anything inside; what is open works on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Those of standard input, output and error, which are never closed.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
