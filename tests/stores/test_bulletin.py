"""What caches tell each other from worker to worker."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial

import pytest
from tests.support.forking import fork, status_of

from tonnage.stores import bulletin as module
from tonnage.stores.bulletin import CLEAR, GRACE_SECONDS, KEY, RECORDS, TAG, Bulletin
from tonnage.stores.names import digest_of


@dataclass(eq=False)
class Listening:
    """A cache, as far as it hears."""

    name: str = "events"
    heard: list[tuple[int, str]] = field(default_factory=list)
    told: list[tuple[int, str]] = field(default_factory=list)

    def hear(self, kind: int, what: str) -> None:
        """Remember it."""
        self.heard.append((kind, what))

    def forget(self, kind: int, what: str) -> None:
        """Remember that this one was told first."""
        self.told.append((kind, what))


@dataclass
class Worker:
    """What one worker has: its own look at the ring, and one cache."""

    cache: Listening = field(default_factory=Listening)
    board: Bulletin = field(default_factory=Bulletin)

    def __post_init__(self) -> None:
        self.board.join(self.cache)

    def catch_up(self) -> list[tuple[int, str]]:
        """Obey what is new, and return that."""
        self.board.catch_up()
        heard, self.cache.heard = self.cache.heard, []
        return heard


def test_every_worker_hears_a_notice_once_and_in_order() -> None:
    """Every worker hears a notice once and in order."""
    one, other = Worker(), Worker()
    one.board.post("events", TAG, "event:7")
    one.board.post("events", KEY, "'a'")
    one.board.post("events", CLEAR)

    expected = [(TAG, "event:7"), (KEY, "'a'"), (CLEAR, "")]
    assert one.cache.heard == expected  # it has obeyed before post() returned
    assert other.board.words[0] != other.board.seen  # what a lookup compares
    assert other.catch_up() == expected
    assert other.catch_up() == []


def test_a_notice_reaches_the_caches_of_its_name() -> None:
    """A notice reaches the caches of its name, and all where it names none."""
    worker = Worker()
    same, another = Listening(), Listening("users")
    worker.board.join(same)
    worker.board.join(another)
    worker.board.post("events", TAG, "x")
    assert (len(worker.cache.heard), len(same.heard), len(another.heard)) == (1, 1, 0)
    worker.board.post(None, CLEAR)
    assert (len(worker.cache.heard), len(same.heard), len(another.heard)) == (2, 2, 1)


def test_whoever_was_overtaken_clears_itself() -> None:
    """One notice more than the ring holds; one less is read."""
    one, other = Worker(Listening("elsewhere")), Worker()
    for number in range(RECORDS - 1):
        one.board.post("events", TAG, str(number))
    assert other.catch_up() == [(TAG, str(number)) for number in range(RECORDS - 1)]

    for number in range(RECORDS):
        one.board.post("events", TAG, str(number))
    assert other.catch_up() == [(CLEAR, "")]


def test_what_is_too_long_for_a_record_clears() -> None:
    """What is too long for a record clears, and what just fits does not."""
    one, other = Worker(), Worker()
    one.board.post("events", TAG, "x" * 236)
    one.board.post("events", TAG, "x" * 237)
    one.board.post("events", TAG, "ü\ud800")
    assert other.catch_up() == [(TAG, "x" * 236), (CLEAR, ""), (TAG, "ü\ud800")]


def test_one_of_a_name_is_told_what_is_announced() -> None:
    """It knows what is shared, and posts; where nobody is here, others hear it all the same."""
    one, other = Worker(), Worker()
    one.board.announce("events", TAG, "event:7")
    assert (one.cache.told, one.cache.heard) == ([(TAG, "event:7")], [])

    nobody = Worker(Listening("elsewhere"))
    nobody.board.announce("events", TAG, "event:8")
    assert other.catch_up() == [(TAG, "event:8")]


def test_caches_that_are_gone_hear_nothing() -> None:
    """They are held weakly."""
    worker = Worker()
    worker.cache = Listening("another")
    worker.board.post("events", CLEAR)
    assert worker.catch_up() == []


def test_what_is_cleared_is_counted_for_what_workers_share() -> None:
    """By name, and for all; others' counts stay."""
    worker = Worker()
    events, users = digest_of("events"), digest_of("users")
    before = worker.board.clears(events), worker.board.clears(users)
    worker.board.clear("events")
    assert (worker.board.clears(events), worker.board.clears(users)) == (before[0] + 1, before[1])
    worker.board.clear()
    after = worker.board.clears(events), worker.board.clears(users)
    assert after == (before[0] + 2, before[1] + 1)
    assert worker.cache.heard == [(CLEAR, ""), (CLEAR, "")]


def test_for_a_moment_redis_may_not_have_heard() -> None:
    """Of a key, a tag, or everything; and only of these."""
    now = 1000.0
    board = Bulletin(lambda: now)
    board.note_forgotten("events", TAG, "odd")
    board.note_forgotten("users", CLEAR)
    board.note_forgotten("pages", KEY, "'a'")

    def just_forgotten() -> list[bool]:
        return [
            board.is_just_forgotten(*asked)
            for asked in (
                ("events", "'a'", ["even", "odd"]),
                ("events", "'a'", ["even"]),
                ("users", "'b'", []),
                ("pages", "'a'", []),
                ("pages", "'b'", []),
            )
        ]

    assert just_forgotten() == [True, False, True, True, False]
    now += GRACE_SECONDS - 0.01
    assert just_forgotten() == [True, False, True, True, False]
    now += 0.02
    assert just_forgotten() == [False] * 5


@pytest.fixture
def board() -> Bulletin:
    """Return that of this process, which has heard what other tests have posted."""
    found = module.bulletin()
    found.catch_up()
    return found


def test_processes_hear_each_other(board: Bulletin) -> None:
    """A child that was forked posts and ends, and its parent obeys, also without a lookup."""
    cache = Listening("of a family")
    board.join(cache)

    def post() -> None:
        module.announce("nobody here", TAG, "x")
        module.clear("of a family")

    assert status_of(fork(post)) == 0
    assert cache.heard == []
    module.catch_up_all()
    assert cache.heard == [(CLEAR, "")]


@pytest.mark.parametrize("workers", [4])
def test_many_who_post_at_once_lose_nothing(workers: int, board: Bulletin) -> None:
    """Processes post while a thread of this one reads: each notice is heard once, whole."""
    cache = Listening("busy")
    board.join(cache)
    notices = 400

    def post_all(child: int) -> None:
        for number in range(notices):
            board.post("busy", TAG, f"{child}:{number}:" + "x" * (number % 200))

    children = [fork(partial(post_all, child)) for child in range(workers)]
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            module.catch_up_all()

    reading = threading.Thread(target=read)
    reading.start()
    try:
        assert [status_of(pid) for pid in children] == [0] * workers
    finally:
        ended.set()
        reading.join()
    module.catch_up_all()
    for child in range(workers):
        mine = [what for _, what in cache.heard if what.startswith(f"{child}:")]
        assert mine == [f"{child}:{number}:" + "x" * (number % 200) for number in range(notices)]
    assert len(cache.heard) == workers * notices
