from __future__ import annotations

from tonnage.web.path.uploads.turns import Turn, Turns


def test_turns_are_handed_on_in_order() -> None:
    """Who asked first is first, and who comes when all places are taken is refused."""
    turns, woken = Turns(concurrent=1, waiting=2), list[str]()
    first = _ask(turns, "first", woken)
    second = _ask(turns, "second", woken)
    third = _ask(turns, "third", woken)
    assert turns.ask(lambda: None) is None
    turns.leave(first)
    turns.leave(second)
    assert woken == ["second", "third"]
    assert third.granted
    assert turns.queued == 0


def test_who_stops_waiting_is_passed_over() -> None:
    """A place in the queue that was given up is nobody's turn."""
    turns, woken = Turns(concurrent=1, waiting=2), list[str]()
    first = _ask(turns, "first", woken)
    second = _ask(turns, "second", woken)
    _ask(turns, "third", woken)
    turns.leave(second)
    turns.leave(first)
    assert woken == ["third"]


def test_a_turn_that_nobody_waits_for_is_free_again() -> None:
    """After all have left, as many can have a turn as at first."""
    turns = Turns(concurrent=2, waiting=0)
    for _ in range(3):
        taken = [_ask(turns, "", []) for _ in range(2)]
        assert all(turn.granted for turn in taken)
        assert turns.ask(lambda: None) is None
        for turn in taken:
            turns.leave(turn)


def _ask(turns: Turns, name: str, woken: list[str]) -> Turn:
    turn = turns.ask(lambda: woken.append(name))
    assert turn is not None
    return turn
