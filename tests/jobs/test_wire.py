"""What goes over the data socket: whole, bounded, without a wait."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.support.descriptors import open_descriptors

from tonnage.errors import JobRaisedError, JobTooLargeError, RequestRefusedError
from tonnage.jobs import wire
from tonnage.jobs.raised import RemoteTraceback, packed, unpacked
from tonnage.problem import Problem

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Two ends of a data socket, which do not wait."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


@pytest.mark.parametrize(
    "value", [None, {"a": [1, 2.5]}, b"x" * 60_000, b"x" * 70_000, ["y" * 50_000] * 3, b"z" * 2**24]
)
def test_values_arrive_as_they_were(ends: Ends, value: object) -> None:
    """In the message, or in a file beside it."""
    parcel = wire.pack(value, 2**25, "it")
    size_bytes, is_large = parcel.size_bytes, parcel.is_large
    parcel.send(ends[0], wire.Kind.RESULT)
    kind, arrived = wire.receive(ends[1])
    assert kind is wire.Kind.RESULT
    assert arrived.size_bytes == size_bytes
    assert is_large == arrived.is_large == (size_bytes > wire.INLINE_BYTES)
    assert arrived.load() == value


def test_nothing_is_left_open(ends: Ends) -> None:
    """Neither what was sent, nor what was not."""
    before = open_descriptors()
    for _ in range(3):
        wire.pack(b"x" * 100_000, 2**20, "it").send(ends[0], wire.Kind.ITEM)
        wire.receive(ends[1])[1].load()
        wire.pack(b"x" * 100_000, 2**20, "it").close()
    with pytest.raises(JobTooLargeError):
        wire.pack(b"x" * 2**20, 2**20, "it")
    assert open_descriptors() == before


def test_what_is_too_large_is_given_up_on_the_way() -> None:
    """The rest is not even made."""
    written = []

    class Telling:
        def __reduce__(self) -> tuple[object, ...]:
            written.append(self)
            return bytes, (b"x" * 40_000,)

    with pytest.raises(JobTooLargeError, match=r"the thing is larger than the 98 KB"):
        wire.pack([Telling() for _ in range(100)], 100_000, "the thing")
    assert len(written) < 5


def test_an_end_that_is_gone_is_told(ends: Ends) -> None:
    """To whoever reads or writes."""
    ends[1].close()
    with pytest.raises(EOFError):
        wire.receive(ends[0])
    with pytest.raises(OSError, match="pipe"):
        wire.ask_more(ends[0])


def test_what_was_sent_arrives_though_the_end_closed_without_reading(ends: Ends) -> None:
    """The kernel tells of what was not read there before it gives what was sent."""
    wire.ask_more(ends[0])
    wire.pack(7, 100, "it").send(ends[1], wire.Kind.RESULT)
    ends[1].close()
    assert wire.receive(ends[0])[1].load() == 7
    with pytest.raises(EOFError):
        wire.receive(ends[0])


def test_a_file_that_there_was_no_place_for_is_an_error(ends: Ends) -> None:
    """The kernel leaves it out where too many are open; what remains is no value."""
    wire.pack(b"x" * 100_000, 2**20, "it").send(ends[0], wire.Kind.RESULT)
    alone = ends[1].recv(2**17)
    ends[0].send(alone)
    with pytest.raises(OSError, match="too many files are open"):
        wire.receive(ends[1])


def test_nothing_yet_is_no_end(ends: Ends) -> None:
    """Each message is one of its own."""
    with pytest.raises(BlockingIOError):
        wire.receive(ends[0])
    wire.ask_more(ends[1])
    assert wire.receive(ends[0])[0] is wire.Kind.MORE


# Errors.


def raised(error: BaseException) -> BaseException:
    """Return *error* as it arrives."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - any is tried
        return unpacked(packed(caught, ()), "module:function")


def test_an_error_arrives_with_the_traceback_as_its_cause() -> None:
    """As text."""
    arrived = raised(KeyError("there"))
    assert isinstance(arrived, KeyError)
    assert arrived.args == ("there",)
    assert isinstance(arrived.__cause__, RemoteTraceback)
    assert "raise error\nKeyError: 'there'\n" in str(arrived.__cause__)


def test_a_refusal_arrives_with_its_problem() -> None:
    """The client is told the same."""
    arrived = raised(RequestRefusedError(Problem(422, "no", "not so", {"most": 5})))
    assert isinstance(arrived, RequestRefusedError)
    assert arrived.problem == Problem(422, "no", "not so", {"most": 5})


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(4)])
def test_what_would_end_the_caller_arrives_as_a_text(error: BaseException) -> None:
    """It was meant for the job."""
    arrived = raised(error)
    assert type(arrived) is JobRaisedError
    assert f"module:function raised {type(error).__name__}" in str(arrived)


def test_an_error_that_holds_much_arrives_as_a_text() -> None:
    """And a long text is cut."""
    arrived = raised(ValueError("x" * 3_000_000))
    assert type(arrived) is JobRaisedError
    assert len(str(arrived)) < 2000
    assert len(str(arrived.__cause__)) < 20_000


def test_an_error_without_a_text_arrives_too() -> None:
    """Its own code fails."""

    class Mute(Exception):  # noqa: N818 - the name says it
        def __str__(self) -> str:
            raise RuntimeError

    assert "Mute: and its text cannot be had" in str(raised(Mute()))
