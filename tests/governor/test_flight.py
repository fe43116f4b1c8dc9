"""The table of what is in flight: written by a worker, read by others, also when it is dead."""

from __future__ import annotations

import signal

import pytest
from tests.support.forking import fork, status_of

from tonnage.governor.flight import NO_ENTRY, Flight, Flights, InFlight, read_flight
from tonnage.governor.page import COST_NAME_BYTES, COST_NUMBERS, FLIGHT_ENTRIES, SharedPage
from tonnage.units import MIB

SECOND = 1_000_000_000
NOW = 1000 * SECOND


@pytest.fixture
def page() -> SharedPage:
    """Return a page with two routes and, in slot 1, a worker whose heart has just beaten."""
    page = SharedPage()
    for row, name in enumerate((b"GET /users/{}", b"POST /files <4096K")):
        page.cost_names(row)[:] = name.ljust(COST_NAME_BYTES, b"\0")
    page.slots[1].heartbeat_nanoseconds = NOW
    return page


def test_a_request_is_there_until_it_ends(page: SharedPage) -> None:
    """With what is known of it."""
    flight = Flight(page.slots[1])
    entry = flight.begin(1, "192.0.2.7", NOW - 3 * SECOND)
    flight.expect(entry, 40 * MIB)
    flight.grow(entry, 8 * MIB)

    assert read_flight(page, 1, NOW) == Flights(
        (InFlight("POST", "/files <4096K", 3.0, 40 * MIB, 8 * MIB, "192.0.2.7", False),), beyond=0
    )
    assert read_flight(page, 0, NOW) == Flights((), beyond=0)

    flight.end(entry)
    assert read_flight(page, 1, NOW) == Flights((), beyond=0)


def test_a_request_is_called_by_its_template_once_that_is_known(page: SharedPage) -> None:
    """Also one that began before that: two names would look like two routes."""
    page.cost_names(7)[:15] = b"GET /users/{id}"
    Flight(page.slots[1]).begin(0, "a", NOW)
    assert [each.route for each in read_flight(page, 1, NOW).requests] == ["/users/{}"]

    page.note_template(0, 7)

    assert [each.route for each in read_flight(page, 1, NOW).requests] == ["/users/{id}"]
    page.cost_names(7)[:] = bytes(COST_NAME_BYTES)
    assert [each.route for each in read_flight(page, 1, NOW).requests] == ["/users/{}"]
    page.note_template(-1, 7)
    assert page.route_name(-1) == ""


def test_nothing_of_a_request_is_left_for_the_next_one(page: SharedPage) -> None:
    """Entries are used again."""
    flight = Flight(page.slots[1])
    entry = flight.begin(0, "2001:db8::1234", NOW)
    flight.expect(entry, 1)
    flight.grow(entry, 2)
    flight.end(entry)

    assert flight.begin(0, "::1", NOW) == entry
    (found,) = read_flight(page, 1, NOW).requests
    assert (found.client, found.expected_bytes, found.grown_bytes) == ("::1", 0, 0)


def test_requests_are_listed_from_the_oldest(page: SharedPage) -> None:
    """Whatever their entries are."""
    flight = Flight(page.slots[1])
    first = flight.begin(0, "a", NOW - 9 * SECOND)
    flight.begin(0, "b", NOW - 5 * SECOND)
    flight.end(first)
    flight.begin(0, "c", NOW - 1 * SECOND)

    assert [each.client for each in read_flight(page, 1, NOW).requests] == ["b", "c"]


def test_what_the_table_cannot_hold_is_counted(page: SharedPage) -> None:
    """They begin, grow and end as others do."""
    flight = Flight(page.slots[1])
    entries = [flight.begin(0, "a", NOW) for _ in range(FLIGHT_ENTRIES + 3)]
    flight.expect(NO_ENTRY, MIB)
    flight.grow(NO_ENTRY, MIB)

    found = read_flight(page, 1, NOW)
    assert entries.count(NO_ENTRY) == found.beyond == 3
    assert len(found.requests) == FLIGHT_ENTRIES
    assert not any(each.grown_bytes or each.expected_bytes for each in found.requests)

    for entry in entries:
        flight.end(entry)
    assert read_flight(page, 1, NOW) == Flights((), beyond=0)
    assert page.slots[0].flight[:8] == bytes(8)


@pytest.mark.parametrize(
    ("measured", "quiet_seconds", "running"),
    [
        (False, 0.1, []),  # the loop turns: none of them is in the middle of a step
        (False, 0.4, ["second"]),
        (True, 0.1, ["first"]),
        (True, 0.4, ["first"]),
    ],
)
def test_the_request_whose_step_is_running_is_told(
    page: SharedPage, measured: bool, quiet_seconds: float, running: list[str]
) -> None:
    """By the meter, or else it is the last that began before the event loop stood still."""
    flight = Flight(page.slots[1])
    first = flight.begin(0, "first", NOW - 8 * SECOND)
    flight.begin(0, "second", NOW - 7 * SECOND)
    page.slots[1].heartbeat_nanoseconds = NOW - int(quiet_seconds * SECOND)
    flight.run(first if measured else NO_ENTRY)

    found = read_flight(page, 1, NOW).requests
    assert [each.client for each in found if each.is_running] == running


def test_a_dead_workers_table_is_wiped_with_its_slot(page: SharedPage) -> None:
    """And not its neighbour's."""
    for index in (1, 2):
        flight = Flight(page.slots[index])
        for _ in range(FLIGHT_ENTRIES + 1):
            flight.begin(0, "a", NOW)

    page.slots[1].wipe()

    assert read_flight(page, 1, NOW) == Flights((), beyond=0)
    assert len(read_flight(page, 2, NOW).requests) == FLIGHT_ENTRIES


def test_a_dead_workers_table_can_be_read_before_that(page: SharedPage) -> None:
    """It was killed between two instructions."""

    def die() -> None:
        Flight(page.slots[1]).begin(0, "192.0.2.7", NOW)
        signal.raise_signal(signal.SIGKILL)

    assert status_of(fork(die)) == -signal.SIGKILL

    (found,) = read_flight(page, 1, NOW).requests
    assert (found.method, found.route, found.client) == ("GET", "/users/{}", "192.0.2.7")


def test_nonsense_in_the_page_is_shown_as_such(page: SharedPage) -> None:
    """Whoever died may have written anything."""
    page.slots[1].flight[:] = b"\xfe\x7f" * (len(page.slots[1].flight) // 2)
    page.slots[1].running = -5

    found = read_flight(page, 1, NOW)

    assert {each.route for each in found.requests} == {"?"}
    assert {each.age_seconds for each in found.requests} == {0.0}
    assert {"\ufffd" in each.client for each in found.requests} == {True}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0, 1e300])
def test_nonsense_in_place_of_a_template_is_none(page: SharedPage, number: float) -> None:
    """Whoever reads it after a crash has to go on."""
    page.cost_numbers(0)[COST_NUMBERS - 1] = number

    assert page.route_name(0) == "GET /users/{}"


def test_a_client_of_any_name_is_noted(page: SharedPage) -> None:
    """Cut to what there is room for."""
    flight = Flight(page.slots[1])
    for client in ("x" * 100, "\ud800", "café"):
        flight.begin(0, client, NOW)

    clients = {each.client for each in read_flight(page, 1, NOW).requests}
    assert clients == {"x" * 48, "?", "café"}
