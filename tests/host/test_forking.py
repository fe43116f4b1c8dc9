"""A child that runs one function ends with it, whatever has become of its output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest
from tests.support.forking import fork, status_of

from tonnage.host.forking import end_with, fork_into


def plain() -> None:
    """Leave the output as it is."""


def unread() -> None:
    """Have something to write left, and nobody who reads it."""
    reader, writer = os.pipe()
    os.close(reader)
    sys.stdout = open(writer, "w")  # noqa: SIM115 - it stays open until the process ends
    sys.stdout.write("the last line")


def closed() -> None:
    """Have closed it, as daemons do."""
    sys.stdout.close()


def none() -> None:
    """Have none, as where a process was started without."""
    sys.stdout = None


OUTPUTS = pytest.mark.parametrize("output", [plain, unread, closed, none])


@OUTPUTS
def test_a_process_ends_with_its_function(output: Callable[[], None]) -> None:
    """Never in the frames of its parent, which it has a copy of."""

    def story() -> None:
        output()
        end_with(lambda: 7)

    assert status_of(fork(story)) == 7


@OUTPUTS
def test_a_process_is_forked_whatever_becomes_of_the_output(output: Callable[[], None]) -> None:
    """Its parent is the server."""

    def story() -> None:
        output()
        pid = fork_into(lambda: 7, frozenset())
        os._exit(status_of(pid))

    assert status_of(fork(story)) == 7
