"""What this process has open, and one that has as many files open as it may."""

from __future__ import annotations

import gc
import os
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


def close_garbage() -> None:
    """Have closed what earlier tests have left to the collector, which runs whenever it likes.

    A count from before would be too high, and a number that was taken be given out anew.
    """
    gc.collect()


def open_descriptors() -> set[str]:
    """Return the numbers of what this process has open."""
    close_garbage()
    return set(os.listdir("/proc/self/fd"))
