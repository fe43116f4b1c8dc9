"""What the stacks of threads reserve."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from tests.support.forking import fork, status_of

from tonnage.host.stacks import STACK_BYTES, Stacks, bound_stacks
from tonnage.units import MIB


@pytest.fixture
def stack_size() -> Iterator[None]:
    """Put the size of threads' stacks back."""
    before = threading.stack_size()
    yield
    threading.stack_size(before)


@pytest.mark.usefixtures("stack_size")
def test_stacks_are_bounded() -> None:
    """Threads started from now on have 1 MB."""
    bound_stacks()

    assert threading.stack_size() == STACK_BYTES == MIB


def test_stacks_stay_reserved_when_their_threads_have_ended() -> None:
    """The C library keeps them for the next ones; a thread more is a stack more."""

    def story() -> None:
        stacks, leave = Stacks(), threading.Event()
        assert stacks.reserved_bytes() == STACK_BYTES
        thread = threading.Thread(target=leave.wait)
        thread.start()
        assert stacks.reserved_bytes() == 2 * STACK_BYTES
        leave.set()
        thread.join()
        assert stacks.reserved_bytes() == 2 * STACK_BYTES

    # Without the threads of other tests, which may be about to end.
    assert status_of(fork(story)) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="counted in /proc")
def test_stacks_of_threads_that_are_not_pythons_are_counted_too() -> None:
    """uvloop's, which it starts for the first look-up of a name, have 8 MB each."""
    pytest.importorskip("uvloop")
    code = """
import asyncio, uvloop
from tonnage.host.stacks import Stacks

async def main():
    stacks = Stacks()
    print(stacks.foreign_bytes())
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    await asyncio.to_thread(lambda: None)
    print(stacks.foreign_bytes())

uvloop.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = (int(line) for line in done.stdout.split())

    assert before == 0
    assert after == 4 * resource.getrlimit(resource.RLIMIT_STACK)[0]
