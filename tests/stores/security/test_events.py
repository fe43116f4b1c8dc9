"""The ring of events: bounded, shared, whole records only, and nothing that is too old."""

from __future__ import annotations

import random
import threading

from tests.support.forking import fork, status_of

from tonnage.host.commons import Commons
from tonnage.stores.security.events import MOST_KEPT, RECORD_BYTES, RING_BYTES, EventRing

DAY = 86_400.0


class Site:
    """A ring, and the time."""

    def __init__(self, keep: int = 10, keep_seconds: float = DAY) -> None:
        self.now = 1_800_000_000.0
        self.region = Commons().share("security events", RING_BYTES)
        self.ring = self.open()
        self.ring.begin(keep, keep_seconds)

    def open(self) -> EventRing:
        """Return the ring as another process finds it."""
        return EventRing(self.region, clock=lambda: self.now)

    def add(self, count: int = 1, kind: str = "login_failed") -> None:
        """Note so many events, numbered in their details."""
        for _ in range(count):
            self.ring.add(kind, "203.0.113.7", "ann", f"event {self.region.words[3] + 1}", "failed")

    def numbers(self) -> list[int]:
        """Return the numbers of those that are kept."""
        return [event.number for event in self.open().newest()]


def test_the_newest_comes_first_with_all_that_was_said_of_it() -> None:
    """In any process that opens the ring."""
    site = Site()
    site.ring.add("login_failed", "2001:db8::1", "ann", "wrong password", "failed")
    site.now += 1
    site.ring.add("suspicious", "203.0.113.7", "", "path traversal: ../x", "suspicious")

    newest, oldest = site.open().newest()

    assert newest == (2, site.now, "suspicious", "203.0.113.7", "", "path traversal: ../x")
    assert oldest == (1, site.now - 1, "login_failed", "2001:db8::1", "ann", "wrong password")
    assert newest.as_json()["time"] == "2027-01-15T08:00:01.000+00:00"
    assert site.ring.counts()["failed"] == site.ring.counts()["suspicious"] == 1


def test_only_the_last_are_kept() -> None:
    """However many there were."""
    site = Site(keep=10)
    site.add(25)

    assert site.numbers() == list(range(25, 15, -1))
    assert site.ring.counts()["failed"] == 25


def test_a_ring_that_nobody_has_begun_is_empty() -> None:
    """As the supervisor finds it where no application has a monitor."""
    ring = EventRing(Commons().share("security events", RING_BYTES))

    assert (ring.is_begun, list(ring.newest())) == (False, [])


def test_what_is_too_long_is_cut_to_fit() -> None:
    """Between characters, with room left for the detail, and without what steers a terminal."""
    site = Site()
    site.ring.add("k" * 99, "c" * 99, "ü" * 99, "\x1b[2J" + "é" * 999)

    (event,) = site.ring.newest()

    assert (event.kind, event.client, event.user) == ("k" * 32, "c" * 48, "ü" * 24)
    assert event.detail.startswith("?[2Jéé")
    assert 100 < len(event.detail.encode()) <= RECORD_BYTES


def test_text_that_is_no_unicode_is_kept_as_far_as_can_be() -> None:
    """A name that came in another encoding has such."""
    site = Site()
    site.ring.add("login_failed", "", "\ud800ann", "")

    assert [event.user for event in site.ring.newest()] == ["?ann"]


def test_half_a_record_is_not_shown() -> None:
    """Whoever wrote it was stopped, or is writing still."""
    site = Site()
    site.add(3)
    # The second record: the header has the first place.
    site.region.bytes[2 * RECORD_BYTES + 100] ^= 1

    assert site.numbers() == [3, 1]


def test_what_is_too_old_is_never_shown() -> None:
    """Also where nobody has erased it."""
    site = Site(keep_seconds=DAY)
    site.add(2)
    site.now += DAY - 1
    site.add()
    site.now += 2

    assert site.numbers() == [3]


def test_each_new_event_erases_two_that_are_too_old() -> None:
    """So they go without a timer; sweeping erases the rest."""
    site = Site(keep_seconds=DAY)
    site.add(6)
    site.now += DAY + 1

    def erased() -> list[int]:
        return [
            number
            for number in range(1, 7)
            if not any(site.region.bytes[number * RECORD_BYTES : (number + 1) * RECORD_BYTES])
        ]

    site.add()
    assert erased() == [1, 2]
    site.ring.sweep()
    assert erased() == [1, 2, 3, 4, 5, 6]
    assert site.numbers() == [7]


def test_keeping_more_or_fewer_shows_what_is_there() -> None:
    """As after a reload with another figure; numbers go on."""
    site = Site(keep=10)
    site.add(8)
    site.ring.begin(4, DAY)
    assert site.numbers() == [8, 7, 6, 5]
    site.add(3)
    assert site.numbers()[:3] == [11, 10, 9]
    site.ring.begin(20, DAY)
    site.add(20)
    assert site.numbers() == list(range(31, 11, -1))


def test_it_holds_as_many_as_it_says() -> None:
    """All of them, in the memory that it says."""
    site = Site(keep=MOST_KEPT)
    site.add(MOST_KEPT + 1)

    assert site.numbers() == list(range(MOST_KEPT + 1, 1, -1))
    assert len(site.region.bytes) == RING_BYTES


def test_writers_in_processes_and_threads_lose_nothing() -> None:
    """Each event has its own number, and each record is whole."""
    site = Site(keep=1000)

    def fail() -> None:
        for each in range(100):
            site.ring.add("login_failed", "child", "", str(each), "failed")

    children = [fork(fail) for _ in range(2)]
    threads = [threading.Thread(target=site.add, args=(50,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status_of(pid) for pid in children] == [0, 0]

    assert site.numbers() == list(range(300, 0, -1))
    assert site.ring.counts()["failed"] == 300


def test_reading_takes_no_lock() -> None:
    """The supervisor reads while a worker that holds it is stopped."""
    site = Site()
    site.add(2)
    with site.region.locked():
        assert site.numbers() == [2, 1]


def test_any_texts_come_back_as_they_are_or_cut() -> None:
    """Whatever clients send."""
    chance = random.Random(7)
    site = Site(keep=200)
    for _ in range(200):
        texts = [
            "".join(
                chr(chance.choice((33, 233, 8364, 128512))) for _ in range(chance.randrange(99))
            )
            for _ in range(4)
        ]
        added = site.ring.add(*texts)
        first = next(site.ring.newest())
        assert first == added
        assert all(text.startswith(kept) for text, kept in zip(texts, first[2:], strict=True))
