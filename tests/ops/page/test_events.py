"""The lines of the log that the page shows."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from tests.server.scene import Whole, scene

from tonnage.ops.page.events import LONGEST_TEXT, MOST_ALIKE, MOST_EVENTS, Events
from tonnage.units import MIB


@pytest.fixture
def events() -> Events:
    """Return a place for events."""
    return Events()


@pytest.fixture
def logger(events: Events) -> Iterator[logging.Logger]:
    """Yield a logger whose lines become events."""
    found = logging.getLogger("tonnage.test-events")
    found.addHandler(events)
    found.setLevel(logging.DEBUG)
    found.propagate = False
    yield found
    found.removeHandler(events)
    found.propagate = True


def texts(events: Events) -> list[str]:
    """Return what they say, the newest first."""
    return [each["text"] for each in events.as_json()]


def test_the_newest_comes_first(events: Events, logger: logging.Logger) -> None:
    """Each with its time, its level and its text; what is for debugging is left out."""
    logger.info("memory %s -> %s", "OK", "WARNING")
    logger.debug("nothing of interest")
    logger.error("worker %d is gone", 3)

    first, second = events.as_json()

    assert (first["level"], first["text"]) == ("ERROR", "worker 3 is gone")
    assert (second["level"], second["text"]) == ("INFO", "memory OK -> WARNING")
    assert first["time"] >= second["time"] > 1_700_000_000


def test_what_a_worker_has_logged_is_a_warning_too(events: Events) -> None:
    """As it was logged there: without secrets, and cut."""
    events.add_warning(
        "security.alert", "security: a wrong token at /?password=hunter2" + "x" * 999
    )

    (event,) = events.as_json()

    assert event["level"] == "WARNING"
    assert event["text"].startswith("security: a wrong token")
    assert "hunter2" not in event["text"]
    assert len(event["text"]) <= LONGEST_TEXT


def test_one_kind_does_not_push_the_others_out(events: Events, logger: logging.Logger) -> None:
    """Of lines that differ by their figures alone, the last few are kept."""
    logger.warning("worker %d has died", 1)
    for number in range(1000):
        logger.warning("brake: stopped worker %d", number)

    found = texts(events)

    assert found[:2] == ["brake: stopped worker 999", "brake: stopped worker 998"]
    assert found[MOST_ALIKE:] == ["worker 1 has died"]


def test_of_many_kinds_the_oldest_go(events: Events, logger: logging.Logger) -> None:
    """However many there are."""
    for number in range(MOST_EVENTS + 20):
        logger.info(f"event {number}")

    assert texts(events) == [f"event {number}" for number in range(MOST_EVENTS + 19, 19, -1)]


def test_where_memory_stands_is_no_event(events: Events, caplog: pytest.LogCaptureFixture) -> None:
    """The line that the server logs regularly is left out, and other lines on memory are not."""
    caplog.set_level(logging.INFO, "tonnage.supervisor")
    logging.getLogger("tonnage.supervisor").addHandler(events)
    try:
        with scene(Whole) as server:
            server.look(100)
            server.keeper.log_memory()
            assert "memory 100 MB of 512 MB (OK)" in caplog.text
            assert texts(events) == []

            server.look(server.watch.marks.warning_bytes // MIB + 1)
            assert texts(events)[-1].startswith("memory OK -> WARNING")
    finally:
        logging.getLogger("tonnage.supervisor").removeHandler(events)


def test_long_texts_are_cut(events: Events, logger: logging.Logger) -> None:
    """An event is a line, not a listing."""
    logger.warning("x" * 100_000)

    assert len(texts(events)[0]) <= LONGEST_TEXT


def test_secrets_are_hidden(events: Events, logger: logging.Logger) -> None:
    """As they are in the log itself."""
    logger.warning("cannot connect to %s", "postgresql://app:hunter2@db/app")

    assert "hunter2" not in texts(events)[0]
    assert "cannot connect" in texts(events)[0]


def test_what_cannot_be_formatted_is_named(events: Events) -> None:
    """The caller is not to fail for it."""
    wrong = ("three",)
    events.handle(logging.LogRecord("x", logging.ERROR, "", 0, "%d workers", wrong, None))

    assert "TypeError" in texts(events)[0]
