"""Memory that processes share by name."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from tests.support.forking import fork, status_of

from tonnage.errors import StoreError
from tonnage.host.commons import COMMONS_BYTES, Commons


def test_whoever_asks_for_a_name_gets_the_same_pages() -> None:
    """Whoever asks for a name gets the same pages."""
    commons = Commons()
    first, other = commons.share("first", 4096), commons.share("other", 8192)
    assert (bytes(first.bytes[:8]), len(other.bytes)) == (bytes(8), 8192)
    first.words[0] = 7
    assert commons.share("first", 4096).words[0] == 7
    assert other.words[0] == 0


def test_what_a_child_makes_is_found_by_its_parent_and_its_siblings() -> None:
    """What a child makes is found by its parent and its siblings."""
    commons = Commons()

    def write() -> None:
        commons.share("made by a child", 4096).words[3] = 42

    def check() -> None:
        assert commons.share("made by a child", 4096).words[3] == 42

    assert status_of(fork(write)) == 0
    assert status_of(fork(check)) == 0
    assert commons.share("made by a child", 4096).words[3] == 42


def test_another_size_or_too_much_is_refused() -> None:
    """Another size or too much is refused."""
    commons = Commons()
    commons.share("rates", 4096)
    with pytest.raises(StoreError, match="'rates' is shared with 4096 bytes already"):
        commons.share("rates", 8192)
    with pytest.raises(StoreError, match="bytes at most that are left"):
        commons.share("huge", COMMONS_BYTES)
    with pytest.raises(StoreError, match="whole words"):
        commons.share("odd", 4097)
    # What was refused has taken no place.
    commons.share("huge", 4096)


def test_too_many_names_are_refused() -> None:
    """Too many names are refused."""
    commons = Commons()
    for number in range(255):
        commons.share(f"region {number}", 8)
    with pytest.raises(StoreError, match="there are 255 such names already"):
        commons.share("one more", 8)


def test_a_lock_keeps_out_other_processes_and_threads() -> None:
    """A lock keeps out other processes and threads."""
    commons = Commons()
    region = commons.share("counted", 4096)

    def count() -> None:
        for _ in range(2000):
            with region.locked():
                region.words[0] = region.words[0] + 1

    pids = [fork(count) for _ in range(2)]
    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status_of(pid) for pid in pids] == [0, 0]
    assert region.words[0] == 8000


def test_the_lock_of_a_process_that_is_killed_is_free_again() -> None:
    """The lock of a process that is killed is free again."""
    commons = Commons()
    region = commons.share("held", 4096)
    reading, writing = os.pipe()

    def hold() -> None:
        with region.locked():
            os.write(writing, b"x")
            signal.pause()

    pid = fork(hold)
    assert os.read(reading, 1) == b"x"
    os.kill(pid, signal.SIGKILL)
    assert status_of(pid) == -signal.SIGKILL
    with region.locked():
        region.words[0] = 1
    os.close(reading)
    os.close(writing)
