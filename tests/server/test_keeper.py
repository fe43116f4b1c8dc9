"""What is done about memory after a look: in which order, how often, and what people are told.

The safeguards are the real ones; the workers are channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from tests.server.conftest import Said
from tests.server.scene import KILLED, Whole, scene

from tonnage.governor.levels import Level
from tonnage.ops.alertpolicy import CRITICAL, RESOLVED
from tonnage.server.messages import Kept
from tonnage.units import MIB

pytestmark = pytest.mark.usefixtures("chatty")


@pytest.fixture
def server() -> Iterator[Whole]:
    """Two workers, and 100 of 512 MB in use."""
    with scene(Whole) as made:
        made.look(100)
        yield made


def test_nothing_is_done_while_all_is_well(server: Whole, said: Said) -> None:
    """Nobody is asked for anything, and nothing is said."""
    for used in (120, 300, 100):
        assert server.look(used) is Level.OK

    assert server.messages(0) == server.messages(1) == []
    assert server.keeper.rounds.last is None
    assert (said(), server.told) == ("", [])


def test_at_warning_workers_are_asked_for_their_part(server: Whole, said: Said) -> None:
    """By what their caches hold: together they are to free what is over, and not each of them."""
    server.page.slots[0].consumers_bytes = 30 * MIB
    server.page.slots[1].consumers_bytes = 10 * MIB

    assert server.look(415) is Level.WARNING

    (first,), (second,) = server.messages(0), server.messages(1)
    assert (first.level, first.why) == (Level.WARNING, "WARNING")
    assert first.need_bytes == pytest.approx(3 * second.need_bytes, abs=4)
    assert said().startswith("memory OK -> WARNING: 415 MB of 512 MB")
    assert server.told == []


def test_nobody_is_asked_again_while_answers_are_awaited(server: Whole) -> None:
    """For five seconds, and a pause; who has not answered by then is stuck, and not asked again."""
    server.look(415)
    server.messages(0)
    server.messages(1)
    server.reclaimed(1)
    for _ in range(4):
        server.look(415, after_seconds=1)
    assert server.messages(1) == []

    server.look(415, after_seconds=1.1)
    server.look(415, after_seconds=0.5)
    assert (server.kinds(0), server.kinds(1)) == ([], ["Reclaim"])
    for _ in range(6):
        server.look(415, after_seconds=10)
    assert server.kinds(0) == ["Reclaim"]  # the answer counts as lost


def test_who_brought_nothing_is_asked_ever_less_often(server: Whole, said: Said) -> None:
    """Half a second's pause, doubled each time."""
    server.look(415)
    asked = []
    for _ in range(100):
        if server.messages(0):
            asked.append(round(server.now_seconds, 1))
            server.reclaimed(0)
            server.reclaimed(1)
        server.look(415)

    pauses = [after - before for before, after in pairwise(asked)]
    assert len(pauses) > 1
    assert pauses[0] >= 0.5
    assert pauses == sorted(pauses)
    assert "reclaimed" not in said()


def asked_at(server: Whole, seconds: float) -> list[float]:
    """Look for so many seconds, with worker 0 alone answering; return when it was asked."""
    asked = []
    for _ in range(round(seconds * 10)):
        if server.messages(0):
            asked.append(server.now_seconds)
            server.reclaimed(0)
        server.look(415)
    return asked


def test_who_brought_nothing_is_asked_ever_less_often_beside_one_that_is_stuck(
    server: Whole,
) -> None:
    """A round is over when its time is up, and has brought what has come until then."""
    server.look(415)

    asked = asked_at(server, 120)

    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses == pytest.approx([5.5, 6, 7, 9, 13, 21, 35], abs=0.35)


def test_a_round_whose_last_worker_has_ended_is_over_as_well(server: Whole) -> None:
    """What the others have brought counts: the next round waits for its pause."""
    server.look(415)
    server.messages(0)
    server.reclaimed(0)
    server.dies(1, KILLED)
    server.look(415)
    assert server.messages(0) == []

    (again, *_) = asked_at(server, 1)
    assert again == pytest.approx(server.now_seconds - 0.5, abs=0.15)


def test_a_late_answer_does_not_count_as_a_round(server: Whole) -> None:
    """Its round is over, and the pause of that has begun."""
    server.look(415)
    server.messages(0)
    server.reclaimed(0)
    server.look(415, after_seconds=5)
    assert server.messages(0) == []
    server.reclaimed(1)

    server.look(415, after_seconds=0.6)
    assert server.kinds(0) == ["Reclaim"]


def test_what_brought_little_is_a_line_for_debugging(
    server: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    """And at INFO only what was worth it."""
    caplog.set_level("DEBUG", "tonnage.supervisor")
    server.look(415)
    server.reclaimed(0)
    server.reclaimed(1, 4)

    lines = {record.getMessage(): record.levelname for record in caplog.records}
    assert lines["reclaimed nothing from worker 0 in 20 ms (WARNING)"] == "DEBUG"
    assert lines["reclaimed 4 MB from worker 1 in 20 ms: 4 MB collection (WARNING)"] == "INFO"


def test_a_worse_level_is_answered_at_once(server: Whole) -> None:
    """What did not help at the last one may at this one."""
    server.look(415)
    server.reclaimed(0)
    server.reclaimed(1)
    server.messages(0)

    assert server.look(465) is Level.CRITICAL

    (message,) = server.messages(0)
    assert (message.level, message.why) == (Level.CRITICAL, "CRITICAL")


def test_people_are_told_of_critical_and_of_recovery(server: Whole, said: Said) -> None:
    """With what came back, and by what."""
    server.look(465)
    ((kind, text),) = server.told
    assert kind == CRITICAL
    assert text == "memory is CRITICAL: 465 MB of 512 MB are used"

    server.reclaimed(0, 100)
    server.reclaimed(1, 20)
    for _ in range(4):
        server.look(200, after_seconds=0.5)

    kind, text = server.told[-1]
    assert kind == RESOLVED
    assert text.startswith("memory is OK again after ")
    assert text.endswith(
        "265 MB below its highest: 145 MB came back as requests or processes ended, "
        "120 MB by reclaim"
    )
    assert text in said()
    assert "reclaimed 100 MB from worker 0 in 20 ms: 100 MB collection (CRITICAL)" in said()


@pytest.mark.parametrize(
    ("reclaimed_mb", "recycled_mb", "told"),
    [
        (0, 0, "265 MB came back as requests or processes ended"),
        (
            *(40, 300),
            "40 MB came back by reclaim, 300 MB by recycling, and 75 MB were taken anew meanwhile",
        ),
        (265, 0, "265 MB came back by reclaim"),
    ],
)
def test_what_came_back_adds_up_to_what_it_fell_by(
    server: Whole, reclaimed_mb: int, recycled_mb: int, told: str
) -> None:
    """Other requests may have taken some of it again, before the level was OK."""
    server.look(465)
    server.page.header.reclaimed_bytes += reclaimed_mb * MIB
    server.page.header.recycled_bytes += recycled_mb * MIB
    for _ in range(4):
        server.look(200, after_seconds=0.5)

    assert server.told[-1][1].endswith(f", 265 MB below its highest: {told}")


def test_warning_alone_wakes_nobody(server: Whole, said: Said) -> None:
    """That memory is OK again goes out with its own kind, sent only where CRITICAL was."""
    server.look(415)
    for _ in range(4):
        server.look(200, after_seconds=0.5)

    assert [kind for kind, _ in server.told] == [RESOLVED]
    assert "memory is OK again after 1.5 s" in said()


def test_what_came_of_the_last_reclaim_can_be_asked_for(server: Whole) -> None:
    """It runs until all have answered, or died."""
    assert server.keeper.rounds.begin(Level.CRITICAL, "asked for") == 2
    asked = server.keeper.rounds.last
    assert asked is not None
    assert asked.as_json()["state"] == "running"

    server.reclaimed(0, 30)
    assert asked.as_json()["state"] == "running"
    server.dies(1, KILLED)

    found = asked.as_json()
    assert found["state"] == "done"
    assert (found["freed_bytes"], found["why"]) == (30 * MIB, "asked for")
    assert found["workers"] == [{"worker": 0, "freed_bytes": 30 * MIB}]
    assert found["by"] == {"collection": 30 * MIB, "allocator": 0}


def test_a_reclaim_is_done_when_nobody_waits_for_the_rest(server: Whole) -> None:
    """As the log says; who has not answered is named until it does."""
    server.keeper.rounds.begin(Level.CRITICAL, "asked for", is_asked=True)
    asked = server.keeper.rounds.last
    assert asked is not None
    server.reclaimed(0, 30)
    server.look(100, after_seconds=5.1)

    found = asked.as_json()
    assert (found["state"], found["unanswered"]) == ("done", [1])

    server.reclaimed(1, 20)
    found = asked.as_json()
    assert (found["state"], found["unanswered"], found["freed_bytes"]) == ("done", [], 50 * MIB)


@pytest.mark.parametrize("why", ["asked for", "SIGUSR1"])
def test_who_asks_for_a_reclaim_is_told_what_came_of_it(
    server: Whole, said: Said, why: str
) -> None:
    """In one line, however little that was, once all have answered; others may have ended."""
    server.keeper.rounds.begin(Level.CRITICAL, why, is_asked=True)
    server.reclaimed(0, 0.5)
    assert said() == ""

    server.dies(1, KILLED)
    server.look(100)
    assert said().endswith(f"reclaimed 512 KB from 1 of 2 worker(s) ({why})")
    server.look(100)
    assert said().count("reclaimed") == 1


def test_a_reclaim_that_nobody_answers_is_told_as_well(server: Whole, said: Said) -> None:
    """After five seconds, or when another reclaim follows; and where there was nobody to ask."""
    server.keeper.rounds.begin(Level.CRITICAL, "SIGUSR1", is_asked=True)
    server.look(100, after_seconds=4.9)
    assert said() == ""
    server.look(100, after_seconds=0.2)
    assert said() == "reclaimed nothing from 0 of 2 worker(s) (SIGUSR1): the others do not answer"

    server.keeper.rounds.begin(Level.CRITICAL, "SIGUSR1", is_asked=True)
    server.look(415)
    assert said().count("(SIGUSR1)") == 2
    server.dies(0, KILLED)
    server.dies(1, KILLED)
    assert server.keeper.rounds.begin(Level.CRITICAL, "SIGUSR1", is_asked=True) == 0
    assert said().endswith("reclaimed nothing (SIGUSR1): no worker serves just now")


def test_a_workers_own_collection_is_no_answer(server: Whole, said: Said) -> None:
    """It counts in the books, but nobody had asked."""
    server.reclaimed(0, 3, why="regular")

    header = server.page.header
    assert (header.reclaims, header.reclaimed_bytes) == (1, 3 * MIB)
    assert server.keeper.rounds.last is None
    assert said() == ""


def test_who_is_about_to_be_gone_is_not_waited_for(server: Whole) -> None:
    """Its end of the channel is closed already; what the others bring is all there is."""
    server.ends[0].close()

    assert server.keeper.rounds.begin(Level.WARNING, "WARNING") == 1
    server.reclaimed(1, 20)

    assert server.keeper.rounds.last is not None
    assert server.keeper.rounds.last.asked_count == 1
    assert server.keeper.rounds.last.awaited == set()


def test_where_use_cannot_be_read_nothing_is_done(server: Whole) -> None:
    """Workers are not asked to give back on a guess."""
    server.gauge.is_broken = True
    server.now_seconds += 0.1

    assert server.safeguards.look() is None
    assert server.messages(0) == server.messages(1) == []


def test_a_worker_that_is_braked_is_not_asked(server: Whole) -> None:
    """It is stopped and could not answer."""
    assert server.keeper.rounds.begin(Level.CRITICAL, "the brake is on", spare=0) == 1

    assert (server.messages(0), len(server.messages(1))) == ([], 1)


def test_a_worker_that_did_not_come_back_down_is_recycled(server: Whole) -> None:
    """After a request in it had run out of memory."""
    server.safeguards.on_message(server.crew.members[1], Kept())
    server.look(100)

    assert server.replaced() == [1]


def test_memory_that_nobody_gives_back_is_recycled(server: Whole, said: Said) -> None:
    """Once reclaim has been tried, and brought nothing, for two seconds."""
    server.own(1, 250)
    server.look(420)
    server.look(420, after_seconds=2.1)
    assert server.replaced() == []

    server.reclaimed(0)
    server.reclaimed(1, own_bytes=250 * MIB)
    server.look(420)

    assert server.replaced() == [1]
    server.start()
    server.dies(1, 0)
    server.look(300)
    assert "keeps memory that no request explains" in said()


def test_recycle_above_counts_what_a_collection_left() -> None:
    """Of the worker that was measured, and not of its successor."""
    with scene(Whole, flags={"recycle_above": "200M"}) as server:
        server.reclaimed(0, own_bytes=201 * MIB)
        server.look(100)
        assert server.replaced() == [0]

        (fresh,) = server.start()
        server.dies(0, 0)
        server.look(100)
        server.now_seconds += 60
        server.look(100)
        assert server.replaced() == []
        assert not server.keeper.recycler.is_busy
        assert fresh.index == 2
        assert server.page.header.recycles == 1


def test_a_stuck_worker_above_its_mark_is_asked_once() -> None:
    """However long it does not answer; it would find all of them waiting after its call."""
    with scene(Whole, flags={"recycle_above": "200M"}) as server:
        server.messages(0)
        server.own(0, 250)
        for _ in range(100):
            server.look(300)
        assert server.kinds(0) == ["Reclaim"]

        server.reclaimed(0, own_bytes=MIB)
        for _ in range(60):
            server.look(300)
        assert server.kinds(0) == ["Reclaim"]


def test_recycle_above_a_fresh_workers_size_is_not_applied(said: Said) -> None:
    """It would recycle for ever, without relief; that is said once."""
    with scene(Whole, flags={"recycle_above": "6M"}) as server:
        server.own(0, 20)
        for _ in range(20):
            server.look(100)
            server.reclaimed(0, own_bytes=20 * MIB)

        assert server.replaced() == []
        assert said() == (
            "--recycle-above 6 MB is not applied: a fresh worker has 6 MB of its own already"
        )


def test_recycle_above_is_applied_again_once_a_fresh_worker_is_below(said: Said) -> None:
    """As after SIGHUP with code that needs less: the last fresh worker says whether it can be."""
    with scene(Whole, flags={"recycle_above": "6M"}) as server:
        server.look(100)
        server.look(100)
        assert said().endswith("not applied: a fresh worker has 6 MB of its own already")
        server.dies(0, 0)
        (small,) = server.crew.fill()
        server.hello(small)
        server.ready(small, own_mb=4)
        server.look(100)
        assert said().endswith(
            "--recycle-above 6 MB is applied again: a fresh worker has 4 MB of its own"
        )

        server.reclaimed(1, own_bytes=20 * MIB)
        server.look(100)
        assert server.replaced() == [1]


def test_a_traced_worker_is_spared_until_memory_is_critical(server: Whole) -> None:
    """The trace is what will name the leak."""
    server.keeper.leaking.tracing.begin(1, 10.0, 400 * MIB)
    server.safeguards.on_message(server.crew.members[1], Kept())
    server.look(100)
    assert server.replaced() == []

    server.gauge.used_mb = 465
    server.look(465)
    server.look(465)
    assert server.crew.members[1].is_leaving or server.replaced() == [1]


def test_the_log_has_figures(server: Whole, caplog: pytest.LogCaptureFixture) -> None:
    """Beside the text, for machines."""
    server.look(100)

    server.keeper.log_memory()

    record = caplog.records[-1]
    assert record.getMessage().startswith("memory 100 MB of 512 MB (OK), 2 worker(s), ")
    assert record.__dict__["fields"] == {
        "used_mb": 100.0,
        "limit_mb": 512.0,
        "cache_mb": 20.0,
        "memory_level": "OK",
    }
