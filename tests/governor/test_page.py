"""The shared page: what one process writes, the others read."""

from __future__ import annotations

import pytest
from tests.support.forking import fork, status_of

from tonnage.governor.page import (
    COST_NAME_BYTES,
    MAX_ROUTES,
    MAX_WORKERS,
    PAGE_BYTES,
    SharedPage,
    Slot,
)
from tonnage.units import KIB


def test_the_page_is_bounded() -> None:
    """All workers, routes and flights that there can be fit into 540 KB."""
    assert PAGE_BYTES <= 540 * KIB
    assert len(SharedPage().slots) == len(SharedPage(slots=10_000).slots) == MAX_WORKERS
    assert len(SharedPage(slots=2).slots) == 2


def test_words_do_not_overlap() -> None:
    """Each of the header, of each slot and of each row of costs keeps its own value."""
    page = SharedPage()
    sections = [page.header, *page.slots]
    words = [
        (section, name)
        for section in sections
        for name, word in vars(type(section)).items()
        if type(word).__name__ == "_Word"
    ]
    for value, (section, name) in enumerate(words):
        setattr(section, name, value)
    for row in range(MAX_ROUTES):
        page.cost_names(row)[:] = str(row).encode().ljust(COST_NAME_BYTES, b"\0")
        page.cost_numbers(row)[0] = page.cost_numbers(row)[-1] = float(row)
    for slot in page.slots:
        slot.flight[:] = bytes([slot.index]) * len(slot.flight)

    assert [getattr(section, name) for section, name in words] == list(range(len(words)))
    assert bytes(page.cost_names(0))[:1] == b"0"
    assert [set(slot.flight) for slot in page.slots] == [{slot.index} for slot in page.slots]
    assert [page.cost_numbers(row)[-1] for row in range(MAX_ROUTES)] == list(range(MAX_ROUTES))


def test_until_the_first_sample_nothing_is_held_back() -> None:
    """The ceiling is out of reach."""
    page = SharedPage()

    assert page.committed_bytes() == 0
    assert page.header.workers_ceiling_bytes > 1 << 60


def test_commitments_of_all_slots_are_summed() -> None:
    """Negative ones too: a worker may have given back what it was born with."""
    page = SharedPage()
    page.slots[0].committed_bytes = 100
    page.slots[5].committed_bytes = -30
    page.slots[MAX_WORKERS - 1].committed_bytes = 7

    assert page.committed_bytes() == 77


def test_a_slot_is_live_until_it_is_wiped() -> None:
    """Of a dead worker nothing stays, and its neighbours keep theirs."""
    page = SharedPage()
    for index in (2, 3):
        page.slots[index].pid = 100 + index
        page.slots[index].committed_bytes = 10
        page.slots[index].uss_bytes = 20
    assert [slot.index for slot in page.live_slots()] == [2, 3]

    page.slots[2].wipe()

    assert page.live_slots() == [page.slots[3]]
    assert page.committed_bytes() == 10
    assert (page.slots[2].uss_bytes, page.slots[3].uss_bytes) == (0, 20)


def test_the_name_of_a_cost_is_whatever_can_be_read_of_it() -> None:
    """What is in the page is not trusted."""
    page = SharedPage()
    page.cost_names(3)[:] = b"GET /caf\xe9\xff".ljust(COST_NAME_BYTES, b"\0")

    assert page.cost_name(3) == "GET /caf\ufffd\ufffd"
    assert [page.cost_name(row) for row in (0, -1, MAX_ROUTES)] == ["", "", ""]


def test_a_forked_child_writes_into_the_same_page() -> None:
    """That is what it is for."""
    page = SharedPage()

    def write() -> None:
        page.slots[1].pid = 42
        page.cost_numbers(7)[0] = 1.5

    assert status_of(fork(write)) == 0
    assert page.slots[1].pid == 42
    assert page.cost_numbers(7)[0] == 1.5


def test_a_word_holds_only_what_64_bits_hold() -> None:
    """Nonsense is an error, not a wrong figure."""
    slot: Slot = SharedPage().slots[0]

    with pytest.raises(ValueError, match="'q'"):
        slot.held_bytes = 1 << 63
