"""Waiting for descriptors, and signals that arrive as one."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tonnage.server.reactor import Reactor, Signals

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    """Yield two connected pairs of sockets."""
    pairs = socket.socketpair(), socket.socketpair()
    yield pairs
    for pair in pairs:
        for end in pair:
            end.close()


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Yield a queue of SIGUSR1 and SIGUSR2."""
    signals = Signals((signal.SIGUSR1, signal.SIGUSR2))
    yield signals
    signals.close()


def test_what_is_ready_is_called(pairs: tuple[Pair, Pair]) -> None:
    """And what is not, is not."""
    (one, far_one), (two, _) = pairs
    reactor, called = Reactor(), list[str]()
    reactor.register(one, lambda: called.append("one"))
    reactor.register(two, lambda: called.append("two"))
    far_one.send(b"x")

    reactor.wait(5.0)

    assert called == ["one"]


def test_a_time_that_is_up_ends_the_wait(pairs: tuple[Pair, Pair]) -> None:
    """Also one that lies in the past."""
    reactor = Reactor()
    reactor.register(pairs[0][0], lambda: pytest.fail("nothing was ready"))

    reactor.wait(0.001)
    reactor.wait(-1.0)


def test_one_callback_may_take_another_out(pairs: tuple[Pair, Pair]) -> None:
    """Both were ready in the same wait; the one that was taken out is not called any more."""
    (one, far_one), (two, far_two) = pairs
    reactor, called = Reactor(), list[str]()

    def take_out(name: str, other: socket.socket) -> None:
        called.append(name)
        reactor.unregister(other)

    reactor.register(one, lambda: take_out("one", two))
    reactor.register(two, lambda: take_out("two", one))
    far_one.send(b"x")
    far_two.send(b"x")

    reactor.wait(5.0)

    assert len(called) == 1


def test_a_descriptor_opened_by_a_callback_is_not_taken_for_the_one_before(
    pairs: tuple[Pair, Pair],
) -> None:
    """It gets the number of one that was ready and is closed, and has nothing to read itself."""
    (one, far_one), (two, far_two) = pairs
    reactor, number = Reactor(), two.fileno()

    def put_another_in_place_of_two() -> None:
        reactor.unregister(two)
        two.close()
        os.dup2(one.fileno(), number)
        another = socket.socket(fileno=number)
        stack.callback(another.close)
        one.recv(1)
        reactor.register(another, lambda: pytest.fail("there is nothing to read"))

    reactor.register(one, put_another_in_place_of_two)
    reactor.register(two, lambda: pytest.fail("it is closed"))
    far_one.send(b"x")
    far_two.send(b"x")

    with ExitStack() as stack:
        reactor.wait(5.0)


def test_unregistering_twice_is_harmless(pairs: tuple[Pair, Pair]) -> None:
    """So whoever cleans up need not know whether somebody has."""
    reactor = Reactor()
    reactor.register(pairs[0][0], lambda: None)

    reactor.unregister(pairs[0][0])
    reactor.unregister(pairs[0][0])


def test_signals_are_taken_in_order(signals: Signals) -> None:
    """Once each, by whoever waits for the descriptor."""
    reactor, taken = Reactor(), list[int]()
    reactor.register(signals, lambda: taken.extend(signals.take()))
    os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGUSR1)

    reactor.wait(5.0)

    assert taken == [signal.SIGUSR2, signal.SIGUSR1]
    assert signals.take() == []


def test_a_flood_of_one_signal_takes_no_others_place(signals: Signals) -> None:
    """The queue is bounded, and handlers never wait for it."""
    signal.raise_signal(signal.SIGUSR2)
    for _ in range(1000):
        signal.raise_signal(signal.SIGUSR1)

    assert signals.take() == [signal.SIGUSR2] + [signal.SIGUSR1] * Signals.MOST_OF_A_KIND


def test_a_second_one_before_the_first_was_taken_counts(signals: Signals) -> None:
    """Whoever asks a second time for the end is in a hurry."""
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR2)
    signal.raise_signal(signal.SIGUSR1)

    assert signals.take() == [signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1]


def test_closing_puts_the_handlers_back() -> None:
    """Those that were there before."""
    before = signal.getsignal(signal.SIGUSR1)
    signals = Signals((signal.SIGUSR1,))
    assert signal.getsignal(signal.SIGUSR1) != before

    signals.close()

    assert signal.getsignal(signal.SIGUSR1) == before
    assert signal.set_wakeup_fd(-1) == -1
