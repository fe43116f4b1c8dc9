"""A worker moves its own fuse where the supervisor would be too late."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.support.process import data_limit

from tonnage.governor.fuse import LEAST_SLACK_BYTES, SLACK_BYTES
from tonnage.governor.page import SharedPage, Slot
from tonnage.host.reins import limit_data
from tonnage.server.ownfuse import OwnFuse
from tonnage.units import MIB


@pytest.fixture
def slot() -> Slot:
    """A worker's."""
    return SharedPage().slots[0]


def no_stacks() -> int:
    """Stand for a process that starts no threads."""
    return 0


@pytest.fixture
def unlimited() -> Iterator[None]:
    """Give this process back the limit that it had."""
    before = data_limit(0)
    yield
    limit_data(0, before)


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize(("left_mb", "room_mb"), [(500, 500), (0, SLACK_BYTES // MIB)])
def test_a_worker_sets_its_first_fuse_itself(slot: Slot, left_mb: int, room_mb: int) -> None:
    """The first request can come before the supervisor's first look."""
    slot.data_bytes = 9000 * MIB

    OwnFuse(slot, no_stacks).set_first(left_mb * MIB)

    assert slot.data_limit_bytes == data_limit(0) == (9000 + room_mb) * MIB


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize(
    ("granted_mb", "fuse_mb"),
    # What it was granted, and a little more.
    [(100, 9500), (600, 9600 + LEAST_SLACK_BYTES // MIB)],
)
def test_a_grant_raises_the_fuse_at_once(slot: Slot, granted_mb: int, fuse_mb: int) -> None:
    """It is never lowered here: that is for the supervisor, who sees the other workers."""
    slot.data_bytes = 9000 * MIB
    OwnFuse(slot, no_stacks).set_first(500 * MIB)
    slot.promised_bytes = slot.granted_bytes = granted_mb * MIB

    OwnFuse(slot, no_stacks).keep_above_grants()

    assert slot.data_limit_bytes == data_limit(0) == fuse_mb * MIB


@pytest.mark.usefixtures("unlimited")
def test_a_worker_without_a_fuse_is_given_none_by_a_grant(slot: Slot) -> None:
    """Fuses are off, or it is being traced."""
    before = data_limit(0)
    slot.promised_bytes = slot.granted_bytes = 600 * MIB

    OwnFuse(slot, no_stacks).keep_above_grants()

    assert slot.data_limit_bytes == 0
    assert data_limit(0) == before


@pytest.mark.usefixtures("unlimited")
def test_stacks_of_new_threads_take_nothing_of_what_was_granted(slot: Slot) -> None:
    """A burst starts its threads after its grant; those before, the main one too, count once."""
    slot.pid, slot.data_bytes = os.getpid(), 9000 * MIB
    reserved = iter([each * MIB for each in (2, 7, 7, 3, 3)])
    fuse = OwnFuse(slot, lambda: next(reserved))
    fuse.set_first(500 * MIB)

    for _ in range(4):
        fuse.follow_stacks()

    assert slot.data_limit_bytes == data_limit(0) == 9505 * MIB


@pytest.mark.usefixtures("unlimited")
def test_threads_of_a_forked_process_are_not_the_workers(slot: Slot) -> None:
    """It has the worker's page, and no fuse."""
    slot.pid, slot.data_bytes = os.getppid(), 9000 * MIB
    reserved = iter([MIB, 8 * MIB])
    fuse = OwnFuse(slot, lambda: next(reserved))
    fuse.set_first(500 * MIB)

    fuse.follow_stacks()

    assert slot.data_limit_bytes == data_limit(0) == 9500 * MIB
