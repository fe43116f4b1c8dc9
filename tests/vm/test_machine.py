"""The host's side of a virtual machine, with a small program in the emulator's place."""

from __future__ import annotations

import sys

import pytest
from tests.vm.machine import NoStatusError, run


def _guest(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_status_of_the_guest_is_returned_and_the_rest_is_shown() -> None:
    """What was written over, the screen's set-up and what follows the status are not."""
    console = r"\x1b[2J\x1b[0mwaiting\rready\r\n3 passed\r\nguest: exit status 5\r\n[9.1] off\r\n"
    shown: list[str] = []

    status = run(_guest(f"print('{console}', end='')"), 20.0, shown.append)

    assert status == 5
    assert shown == ["ready", "3 passed"]


def test_a_guest_that_ends_without_a_status_has_failed() -> None:
    """Whatever was printed before; the emulator's own complaint is in the message."""
    code = "import sys; print('1 passed'); sys.exit('no such disk')"

    with pytest.raises(NoStatusError, match="without a status: no such disk"):
        run(_guest(code), 20.0, lambda line: None)


def test_a_guest_that_does_not_end_is_ended() -> None:
    """A kernel that hangs costs the deadline and no more."""
    with pytest.raises(NoStatusError, match="had not ended after"):
        run(_guest("import signal; signal.pause()"), 0.2, lambda line: None)
