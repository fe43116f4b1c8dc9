"""How records lie in a file, and what comes back from one that is damaged."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from tonnage.stores.writer.spool import frames

JOURNAL = "0123456789abcdef0123"
PAYLOADS = [b"", b"one", b"two" * 40, bytes(range(256)), b"\xb7Rec in a payload"]


def _file(payloads: list[bytes]) -> tuple[bytes, list[int]]:
    """Return the frames of *payloads*, and where each ends."""
    data, ends = b"", []
    for number, payload in enumerate(payloads, 1):
        data += frames.frame(number, payload)
        ends.append(len(data))
    return data, ends


def test_what_went_in_comes_out() -> None:
    """What went in comes out."""
    data, ends = _file(PAYLOADS)
    found = frames.scan(data, 100)
    assert [each.payload for each in found.frames] == PAYLOADS
    assert [each.number for each in found.frames] == [1, 2, 3, 4, 5]
    assert [each.end for each in found.frames] == [100 + end for end in ends]
    assert (found.damaged, found.end) == ([], 100 + len(data))


def test_cut_off_anywhere_what_was_whole_comes_back() -> None:
    """Cut off anywhere, what was whole comes back."""
    data, ends = _file(PAYLOADS)
    for length in range(len(data) + 1):
        found = frames.scan(data[:length])
        whole = sum(end <= length for end in ends)
        assert [each.payload for each in found.frames] == PAYLOADS[:whole]
        assert found.damaged == []
        assert found.end == (ends[whole - 1] if whole else 0)


def test_a_flipped_bit_anywhere_costs_one_record_at_most() -> None:
    """A flipped bit anywhere costs one record at most."""
    data, ends = _file(PAYLOADS)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        found = frames.scan(bytes(damaged))
        struck = sum(end <= at for end in ends)
        others = [payload for number, payload in enumerate(PAYLOADS) if number != struck]
        assert [each.payload for each in found.frames] == others
        if struck < len(PAYLOADS) - 1:
            begin = ends[struck - 1] if struck else 0
            assert found.damaged == [(begin, ends[struck])]


@given(st.lists(st.binary(max_size=50), max_size=8), st.binary(max_size=200), st.integers(0, 8))
@example([b"one", b"two"], b"x\xb7Rec" * 9, 1)  # what looks like the start of a frame
@example([b"one", b""], b"x", 1)  # up to a frame that is the last, and empty
def test_rubbish_in_between_is_passed_over(
    payloads: list[bytes], rubbish: bytes, where: int
) -> None:
    """Rubbish in between is passed over."""
    data, ends = _file(payloads)
    at = 0 if where == 0 or not ends else ends[min(where, len(ends)) - 1]
    found = frames.scan(data[:at] + rubbish + data[at:])
    assert [each.payload for each in found.frames] == payloads


def test_a_head_is_known_by_its_journal_and_its_version() -> None:
    """A head is known by its journal and its version."""
    head = frames.head(JOURNAL, 7)
    assert len(head) == frames.HEAD_BYTES
    assert frames.is_head(head, JOURNAL)
    assert not frames.is_head(head, JOURNAL[::-1])
    for at in range(len(head)):
        damaged = bytearray(head)
        damaged[at] ^= 1 + random.Random(at).randrange(255)
        assert not frames.is_head(bytes(damaged), JOURNAL)
        assert not frames.is_head(head[:at], JOURNAL)


def test_so_many_are_looked_for_at_most() -> None:
    """So many are looked for at most."""
    data, ends = _file(PAYLOADS)
    found = frames.scan(data, most=2)
    assert len(found.frames) == 2
    assert found.end == ends[1]


def test_how_long_a_frame_is_can_be_read_from_its_start() -> None:
    """How long a frame is can be read from its start."""
    data = frames.frame(1, b"x" * 1000)
    assert frames.wanted_bytes(data[:100]) == len(data)
    assert frames.wanted_bytes(data[:10]) == frames.FRAME_BYTES
    assert frames.wanted_bytes(b"y" * 100) == 0
