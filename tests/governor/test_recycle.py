"""Who is recycled, why, and when it is left alone: decided from figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tonnage.governor.levels import Level
from tonnage.governor.recycle import (
    COOL_DOWN_FACTOR,
    COOL_DOWN_SECONDS,
    GIVEN_UP_SECONDS,
    LASTING_SECONDS,
    LEAST_AGE_SECONDS,
    Candidate,
    Choice,
    History,
    Reason,
    Situation,
    Trial,
    after_recycle,
    before_recycle,
    choose,
)
from tonnage.units import MIB

NOW = 1000.0
CALM = Situation(
    level=Level.OK,
    level_seconds=60.0,
    limit_bytes=512 * MIB,
    used_bytes=400 * MIB,
    room_bytes=200 * MIB,
    reclaimed=False,
)
# Reclaim was tried, and the level stays up.
STUCK = replace(CALM, level=Level.WARNING, level_seconds=2.0, reclaimed=True)


def worker(
    index: int = 0,
    *,
    own: float = 10,
    unexplained: float = 0,
    collected: float | None = None,
    age_seconds: float = 100.0,
    in_flight: int = 0,
    requests: int = 0,
    requests_limit: int | None = None,
    seconds_limit: float | None = None,
    leak: float = 0.0,
    wanted: Reason | None = None,
) -> Candidate:
    """Return a worker; sizes in MB, *leak* in MB a second."""
    return Candidate(
        index=index,
        age_seconds=age_seconds,
        own_bytes=int(own * MIB),
        unexplained_bytes=int(unexplained * MIB),
        in_flight=in_flight,
        requests=requests,
        requests_limit=requests_limit,
        seconds_limit=seconds_limit,
        leak_bytes_per_second=leak * MIB,
        collected_bytes=None if collected is None else int(collected * MIB),
        wanted=wanted,
    )


def reason_for(
    candidate: Candidate, situation: Situation = CALM, history: History | None = None
) -> Reason | None:
    """Return why the only worker is recycled; None: it is not."""
    choice = choose([candidate], situation, history or History(), NOW)
    return None if choice is None else choice.reason


def test_nobody_is_recycled_without_a_reason() -> None:
    """Not even a large one, at any level, unless it was found not to give back."""
    large = worker(own=400, unexplained=400, age_seconds=1e6, requests=10**9)

    assert reason_for(large) is None
    assert reason_for(large, replace(STUCK, reclaimed=False)) is None
    assert reason_for(large, replace(STUCK, level_seconds=1.9)) is None
    assert choose([], CALM, History(), NOW) is None


@pytest.mark.parametrize("level", [Level.WARNING, Level.CRITICAL, Level.EXHAUSTED])
def test_what_keeps_the_level_up_and_is_not_given_back_goes(level: Level) -> None:
    """The worker with most memory that no running request explains."""
    workers = [worker(0, own=200, unexplained=40), worker(1, own=90, unexplained=80)]

    choice = choose(workers, replace(STUCK, level=level), History(), NOW)

    assert choice == Choice(1, Reason.STUCK)


def test_at_ok_nobody_is_stuck() -> None:
    """What was reclaimed in vain some time ago is no reason now."""
    assert reason_for(worker(unexplained=300), replace(STUCK, level=Level.OK)) is None


@pytest.mark.parametrize(("unexplained", "expected"), [(25, None), (26, Reason.STUCK)])
def test_who_holds_little_is_not_what_fills_the_memory(
    unexplained: float, expected: Reason | None
) -> None:
    """Less than a twentieth of the limit."""
    assert reason_for(worker(own=300, unexplained=unexplained), STUCK) is expected


@pytest.mark.parametrize(
    ("own", "collected", "expected"),
    [
        (300, None, None),
        # What requests hold for a moment, or garbage, is no reason: only what was collected.
        (300, 200, None),
        (300, 201, Reason.TOO_LARGE),
        (100, 201, Reason.TOO_LARGE),
    ],
)
def test_recycle_above_is_measured_after_a_collection(
    own: float, collected: float | None, expected: Reason | None
) -> None:
    """At any level, as the user said."""
    situation = replace(CALM, recycle_above_bytes=200 * MIB)

    assert reason_for(worker(own=own, collected=collected), situation) is expected


@pytest.mark.parametrize(
    ("own", "in_flight", "expected"),
    [
        (99, 0, None),
        (100, 0, Reason.LEAK),
        (100, 1, None),
        (149, 5, None),
        (150, 5, Reason.LEAK),
    ],
)
def test_a_leak_is_dealt_with_at_a_quiet_moment_or_before_it_matters(
    own: float, in_flight: int, expected: Reason | None
) -> None:
    """From half of the worker's room on where nothing runs, at three quarters anyway."""
    assert reason_for(worker(own=own, in_flight=in_flight, leak=1)) is expected
    assert reason_for(worker(own=own, in_flight=in_flight)) is None


@pytest.mark.parametrize(
    ("requests", "age_seconds", "expected"),
    [
        (999, 3599, None),
        (1000, 10, Reason.REQUESTS),
        (0, 3600, Reason.LIFETIME),
        (1000, 3600, Reason.REQUESTS),
        # However young: the user has said so.
        (1000, 0.5, Reason.REQUESTS),
    ],
)
def test_a_worker_has_its_count_of_requests_and_its_lifetime(
    requests: int, age_seconds: float, expected: Reason | None
) -> None:
    """Where these are bounded."""
    found = worker(
        requests=requests, age_seconds=age_seconds, requests_limit=1000, seconds_limit=3600.0
    )

    assert reason_for(found) is expected


# What would be reason enough to recycle for memory.
NEEDY = worker(own=180, unexplained=150, collected=150, leak=1, wanted=Reason.NOT_BACK)


def test_a_young_worker_is_not_recycled_for_its_memory() -> None:
    """It would be again and again."""
    young = replace(NEEDY, age_seconds=LEAST_AGE_SECONDS - 0.1)

    assert reason_for(young, STUCK) is None
    assert reason_for(NEEDY, STUCK) is Reason.NOT_BACK


@pytest.mark.parametrize(
    "history",
    [History(not_before_seconds=NOW + 0.1), History(given_up_until_seconds=NOW + 0.1)],
    ids=["cooling down", "given up"],
)
@pytest.mark.parametrize("wanted", [Reason.ASKED, Reason.NEW_CODE])
def test_what_people_ask_for_is_done_whatever_recycling_has_brought(
    history: History, wanted: Reason
) -> None:
    """While what memory alone calls for has to wait; limits that the user has set do not."""
    assert reason_for(NEEDY, STUCK, history) is None
    assert reason_for(replace(NEEDY, wanted=wanted, age_seconds=0.0), STUCK, history) is wanted
    assert reason_for(replace(NEEDY, requests_limit=0), STUCK, history) is Reason.REQUESTS


def test_who_was_asked_for_comes_before_who_is_large() -> None:
    """The highest reason first, then the largest, then the last slot."""
    small, large = worker(0, own=10, wanted=Reason.ASKED), worker(1, own=300, unexplained=300)
    new = worker(2, own=400, wanted=Reason.NEW_CODE)

    assert choose([small, large, new], STUCK, History(), NOW) == Choice(0, Reason.ASKED)
    assert choose([large, new], STUCK, History(), NOW) == Choice(2, Reason.NEW_CODE)
    twins = [worker(index, own=own, wanted=Reason.ASKED) for index, own in enumerate((5, 9, 7))]
    assert choose(twins, CALM, History(), NOW) == Choice(1, Reason.ASKED)


@pytest.mark.parametrize(
    ("freed", "held", "is_relief"),
    [
        # A twentieth of the limit,
        (26, 400, True),
        (25, 400, False),
        # or half of what a small worker held.
        (5, 10, True),
        (4, 10, False),
        (0, 0, True),
    ],
)
def test_a_recycle_is_a_relief_if_it_gave_enough_back(
    freed: int, held: int, is_relief: bool
) -> None:
    """Then the next one may come soon, else eight times later."""
    found = after_recycle(
        History(without_relief=1),
        freed_bytes=freed * MIB,
        held_bytes=held * MIB,
        limit_bytes=512 * MIB,
        now_seconds=NOW,
    )

    pause = COOL_DOWN_SECONDS * (1 if is_relief else COOL_DOWN_FACTOR)
    assert found == History(0 if is_relief else 2, NOW + pause)


def in_vain(history: History) -> History:
    """Return the history after a recycle that brought nothing."""
    return after_recycle(
        history, freed_bytes=0, held_bytes=MIB, limit_bytes=512 * MIB, now_seconds=NOW
    )


def test_after_three_in_vain_it_is_given_up_for_a_while() -> None:
    """Then it is tried again, as if nothing had been."""
    history = History()
    for _ in range(2):
        history = in_vain(history)
        assert history.given_up_until_seconds == 0.0
        assert history.may(NOW + COOL_DOWN_SECONDS * COOL_DOWN_FACTOR)
    history = in_vain(history)

    assert history.given_up_until_seconds == NOW + GIVEN_UP_SECONDS
    assert not history.may(NOW + GIVEN_UP_SECONDS - 1)
    assert history.may(NOW + GIVEN_UP_SECONDS)
    assert in_vain(history).given_up_until_seconds == NOW + GIVEN_UP_SECONDS


@pytest.mark.parametrize("reason", Reason)
def test_only_recycles_for_memory_are_judged_by_what_they_bring(reason: Reason) -> None:
    """One that was asked for need not bring anything."""
    expected = {Reason.LEAK, Reason.TOO_LARGE, Reason.STUCK, Reason.NOT_BACK}

    assert reason.is_for_memory is (reason in expected)


USED = 430
FREED = 190


def relieved(history: History, now_seconds: float, reason: Reason = Reason.STUCK) -> History:
    """Return the history after a recycle that gave 190 of 430 MB back, for now."""
    return after_recycle(
        history,
        freed_bytes=FREED * MIB,
        held_bytes=200 * MIB,
        limit_bytes=512 * MIB,
        now_seconds=now_seconds,
        trial=Trial(reason, USED * MIB, FREED * MIB, now_seconds + LASTING_SECONDS),
    )


def needed(
    history: History, now_seconds: float, used: int = USED, reason: Reason = Reason.STUCK
) -> History:
    """Return the history when another is called for while so many MB are used."""
    return before_recycle(history, reason, used_bytes=used * MIB, now_seconds=now_seconds)


@pytest.mark.parametrize("reason", [Reason.STUCK, Reason.TOO_LARGE, Reason.NOT_BACK])
def test_what_is_soon_in_use_again_was_no_relief(reason: Reason) -> None:
    """As where each worker loads a model with its first request: three times, and not a fourth."""
    now, history = NOW, History()
    for count in (1, 2, 3):
        history = relieved(history, now, reason)
        assert history.may(now + COOL_DOWN_SECONDS)
        now += 6.0
        history = needed(history, now, reason=reason)
        assert history.may(now) is (count < 3)

    assert history.given_up_until_seconds == now + GIVEN_UP_SECONDS
    assert history.trial is None


@pytest.mark.parametrize(
    ("after_seconds", "used", "reason", "without_relief", "is_judged"),
    [
        (LASTING_SECONDS, 335, Reason.STUCK, 2, True),
        # Half of what came free is still free: it is another worker's turn.
        (6.0, 334, Reason.STUCK, 0, True),
        # It lasted for long enough.
        (LASTING_SECONDS + 0.1, USED, Reason.STUCK, 0, True),
        (LASTING_SECONDS + 0.1, USED, Reason.NOT_BACK, 0, True),
        # Whatever has come of it: by turns it was stuck, and ran out of memory.
        (6.0, USED, Reason.NOT_BACK, 2, True),
        (6.0, USED, Reason.TOO_LARGE, 2, True),
        # A leak comes back by itself, so this says nothing of it.
        (6.0, USED, Reason.LEAK, 1, False),
    ],
)
def test_a_relief_is_judged_when_the_next_recycle_is_called_for(
    after_seconds: float, used: int, reason: Reason, without_relief: int, is_judged: bool
) -> None:
    """By what is in use then, if it is soon."""
    history = relieved(History(without_relief=1), NOW)
    assert history.without_relief == 1

    history = needed(history, NOW + after_seconds, used, reason)

    assert history.without_relief == without_relief
    assert (history.trial is None) is is_judged


def test_a_relief_of_another_kind_leaves_the_trial_alone() -> None:
    """A leak that is recycled meanwhile does not make the counting begin anew."""
    history = needed(relieved(History(), NOW), NOW + 6)
    history = relieved(history, NOW + 6)

    history = after_recycle(
        history,
        freed_bytes=30 * MIB,
        held_bytes=40 * MIB,
        limit_bytes=512 * MIB,
        now_seconds=NOW + 9,
    )

    assert needed(history, NOW + 12).without_relief == 2


def test_without_a_trial_nothing_is_judged() -> None:
    """As before the first."""
    assert needed(History(without_relief=1), NOW) == History(without_relief=1)


@pytest.mark.parametrize("reason", Reason)
def test_only_what_should_stay_free_is_put_on_trial(reason: Reason) -> None:
    """A leak comes back by itself, and is recycled for as long as it does."""
    lasting = {Reason.TOO_LARGE, Reason.STUCK, Reason.NOT_BACK}
    assert reason.has_to_last is (reason in lasting)
