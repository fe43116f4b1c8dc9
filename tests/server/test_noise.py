"""What clients do writes no errors of the application's into the log; its own errors stay there."""

from __future__ import annotations

import contextvars
import http.client
import logging
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage.server.noise import LOG_SECONDS, MOST_WARNINGS, Flood, Noise, hush
from tonnage.web.respond import was_cut

NOT_COMPLETED = "ASGI callable returned without completing response."


def is_shown(message: str, error: BaseException | None = None) -> bool:
    """Return whether what uvicorn says of a request is shown."""
    about = (type(error), error, None) if error is not None else None
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, message, (), about)
    return Noise().filter(record)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ClientDisconnect(), False),
        (BaseExceptionGroup("", [ClientDisconnect(), ClientDisconnect()]), False),
        (BaseExceptionGroup("", [ClientDisconnect(), ValueError()]), True),
        (ValueError(), True),
        (ConnectionResetError("to the database"), True),
    ],
)
def test_only_that_a_client_has_gone_is_no_error(error: BaseException, shown: bool) -> None:
    """What else happens in its request is one, whatever the client does."""
    assert is_shown("Exception in ASGI application\n", error) is shown


def test_a_client_that_has_gone_is_told_of_where_everything_is() -> None:
    """With ``--log-level debug`` nothing is kept back."""
    logger = logging.getLogger("uvicorn.error")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        assert is_shown("Exception in ASGI application\n", ClientDisconnect())
    finally:
        logger.setLevel(before)


def test_an_unfinished_response_is_an_error_unless_it_was_cut() -> None:
    """An application that forgets to end its response hears of it."""

    def cut() -> bool:
        was_cut.set(True)
        return is_shown(NOT_COMPLETED)

    assert is_shown(NOT_COMPLETED)
    assert not contextvars.copy_context().run(cut)


def test_hushing_twice_is_hushing_once() -> None:
    """Each server of a process asks for it."""
    logger = logging.getLogger("uvicorn.error")
    hush()
    hush()
    assert sum(isinstance(each, Noise) for each in logger.filters) == 1


def test_a_flood_of_warnings_about_requests_is_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    """The first of a kind are shown, then how many more; then it begins anew."""
    now = [100.0]
    flood = Flood(clock=lambda: now[0])

    def shown(level: int, message: str) -> bool:
        record = logging.LogRecord("tonnage.requests", level, "", 0, message, (), None)
        return flood.filter(record)

    logger = logging.getLogger("tonnage.worker")
    logger.addHandler(caplog.handler)
    try:
        assert sum(shown(logging.WARNING, "%s: too large") for _ in range(500)) == MOST_WARNINGS
        assert shown(logging.WARNING, "another kind")
        assert all(shown(logging.ERROR, "an error") for _ in range(500))
        now[0] += LOG_SECONDS
        flood.tick()
        assert shown(logging.WARNING, "%s: too large")
        now[0] += LOG_SECONDS
        flood.tick()
    finally:
        logger.removeHandler(caplog.handler)
    said = {record.getMessage() for record in caplog.records}
    assert said == {f"{500 - MOST_WARNINGS} more warning(s) like the last ones were left out"}


@pytest.mark.real
def test_what_clients_cause_is_no_error_in_the_log(tmp_path: Path) -> None:
    """Bodies that come slowly or not at all, responses too large, WebSockets beyond the rate."""
    client = pytest.importorskip("websockets.sync.client")
    options = ("--body-seconds", "1", "--max-response", "1M", "--rate-limit", "8/1m")
    env = {"SPOOL": str(tmp_path), "KEEP": str(tmp_path)}
    with Running("tests.promises.hostile_app:app", *options, env=env) as server:
        begun = b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx"
        with server.connect() as slow, server.connect() as gone:
            gone.sendall(begun)
            gone.close()
            slow.sendall(begun)
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        with pytest.raises(http.client.IncompleteRead):
            server.get("/large")
        refused = 0
        for _ in range(10):
            with (
                pytest.raises(Exception, match=r"HTTP (403|429|500)") as found,
                client.connect(f"ws://127.0.0.1:{server.port}/ws"),
            ):
                pass
            refused += "HTTP 429" in str(found.value)
        assert refused >= 4
        await_true(lambda: "1 sent a body too slowly" in server.log, "a line for the slow one")
        said = server.log
    assert "its response had begun, so its connection is closed" in said
    assert "Traceback" not in said
    assert "without completing" not in said


def test_an_applications_own_warnings_are_all_shown() -> None:
    """Many log by uvicorn's logger, and what clients cause is left out of that."""
    hush()
    logger = logging.getLogger("uvicorn.error")

    def shown(message: str) -> int:
        record = logging.LogRecord(logger.name, logging.WARNING, "", 0, message, (), None)
        return sum(bool(logger.filter(record)) for _ in range(3 * MOST_WARNINGS))

    assert shown("stock is low") == 3 * MOST_WARNINGS
    assert shown("Unsupported upgrade request.") <= MOST_WARNINGS


@pytest.mark.real
def test_clients_that_would_speak_http_2_do_not_fill_the_log() -> None:
    """They ask for it with their first request; uvicorn warns of each."""
    asks = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
    with Running("tests.server.working:app", "--workers", "1") as server:
        for _ in range(MOST_WARNINGS + 5):
            assert server.request("GET", "/health", headers=asks).status == 200
        await_true(lambda: server.log.count("Unsupported upgrade") >= MOST_WARNINGS, "its warnings")
        said = server.log.count("Unsupported upgrade request")
    assert said == MOST_WARNINGS
