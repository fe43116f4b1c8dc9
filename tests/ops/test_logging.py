"""The log as it arrives at the other end of a pipe or terminal."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import re
import threading
import time
import tty
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from tests.support.forking import fork, status_of

from tonnage.logs.context import current
from tonnage.logs.outflow import WAIT_SECONDS
from tonnage.logs.texts import MAX_TEXT_CHARS
from tonnage.ops.logging import configure
from tonnage.settings import LoggingSettings

NAMES = ("tonnage", "uvicorn", "uvicorn.error", "uvicorn.access")


def settings(
    log_format: Literal["json", "text"] = "text",
    log_level: Literal["debug", "info", "warning"] = "info",
    access_log: bool = False,
) -> LoggingSettings:
    """Return settings as the command line would make them."""
    return LoggingSettings(
        log_level=log_level,
        log_format=log_format,
        access_log=access_log,
        environment="production",
    )


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """Put the loggers back, since they are the whole process's."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(log.handlers, log.filters, log.level, log.propagate) for log in loggers]
    yield
    for log, state in zip(loggers, before, strict=True):
        log.handlers, log.filters, log.level, log.propagate = state


class Pipe:
    """A pipe in the place of stderr."""

    def __init__(self) -> None:
        self.reading, self.fd = os.pipe()
        os.set_blocking(self.reading, False)
        os.set_blocking(self.fd, False)

    def text(self) -> str:
        """Return what has been logged since the last call."""
        try:
            return os.read(self.reading, 2**16).decode()
        except BlockingIOError:
            return ""

    def objects(self) -> list[dict[str, Any]]:
        """Return the lines of JSON that have been logged since the last call."""
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Yield a pipe to log to."""
    pipe = Pipe()
    yield pipe
    os.close(pipe.reading)
    os.close(pipe.fd)


def test_text_line_is_time_level_message(pipe: Pipe) -> None:
    """Short enough for a terminal; figures follow the message."""
    configure(settings(), fd=pipe.fd)

    logging.getLogger("tonnage.memory").warning(
        "memory %d MB of %d MB", 431, 512, extra={"fields": {"level": "WARNING", "workers": 2}}
    )

    pattern = r"\d\d:\d\d:\d\d WARNING  memory 431 MB of 512 MB level=WARNING workers=2\n"
    assert re.fullmatch(pattern, pipe.text())


def test_json_line_has_the_promised_keys(pipe: Pipe) -> None:
    """Time is UTC with milliseconds; fields are keys beside the others."""
    configure(settings("json"), fd=pipe.fd)

    logging.getLogger("tonnage.memory").warning("memory is %s", "low", extra={"fields": {"mb": 4}})

    (line,) = pipe.objects()
    assert list(line) == ["time", "level", "logger", "message", "pid", "mb"]
    assert line["level"] == "WARNING"
    assert line["logger"] == "tonnage.memory"
    assert line["message"] == "memory is low"
    assert line["pid"] == os.getpid()
    assert line["mb"] == 4
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
    assert re.fullmatch(r"[0-9T:-]{19}\.\d{3}\+00:00", line["time"])


def test_json_fields_cannot_replace_the_lines_own_keys(pipe: Pipe) -> None:
    """Whoever searches for a level finds levels."""
    configure(settings("json"), fd=pipe.fd)

    logging.getLogger("tonnage").error("no", extra={"fields": {"level": "mine", "message": "x"}})

    assert [(line["level"], line["message"]) for line in pipe.objects()] == [("ERROR", "no")]


@pytest.mark.parametrize("value", [object(), "lone \udc80", {1, 2}, b"x", float("nan")])
def test_json_line_is_written_whatever_the_fields_hold(pipe: Pipe, value: object) -> None:
    """A value that JSON does not know becomes text; no line is lost for it."""
    configure(settings("json"), fd=pipe.fd)

    logging.getLogger("tonnage").error("odd \udc80", extra={"fields": {"value": value}})

    (line,) = pipe.objects()
    assert line["message"] == "odd \\udc80"


@pytest.mark.parametrize(("log_format", "lines"), [("json", 1), ("text", 4)])
def test_exception_is_part_of_its_record(
    pipe: Pipe, log_format: Literal["json", "text"], lines: int
) -> None:
    """As one key in JSON; in text below the line, indented."""
    configure(settings(log_format), fd=pipe.fd)
    try:
        raise ValueError("too large")
    except ValueError:
        logging.getLogger("tonnage").exception("failed")

    written = pipe.text().splitlines()
    assert len(written) == lines + (log_format == "text")
    assert all(line.startswith("  ") for line in written[1:])
    assert "ValueError: too large" in written[-1]
    if log_format == "json":
        assert json.loads(written[0])["exception"].startswith("Traceback")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_message_cannot_forge_lines(pipe: Pipe, log_format: Literal["json", "text"]) -> None:
    """Line breaks and terminal escapes that a client sent do not act."""
    configure(settings(log_format), fd=pipe.fd)

    logging.getLogger("tonnage").warning("path %s", "/\r\n12:00:00 ERROR forged \x1b[2J")

    written = pipe.text()
    assert "\x1b" not in written
    assert "\r" not in written
    assert not any(line.startswith("12:00:00") for line in written.splitlines())


def test_long_texts_are_cut(pipe: Pipe) -> None:
    """The beginning of a message and the end of a traceback are kept."""
    configure(settings("json"), fd=pipe.fd)
    try:
        raise ValueError("x" * 20_000 + "end")
    except ValueError:
        logging.getLogger("tonnage").exception("begin%s", "y" * 20_000)

    (line,) = pipe.objects()
    assert len(line["message"]) < MAX_TEXT_CHARS + 10
    assert line["message"].startswith("begin")
    assert len(line["exception"]) < MAX_TEXT_CHARS + 10
    assert line["exception"].endswith("end")


def test_only_our_loggers_are_touched(pipe: Pipe) -> None:
    """The application's logging is its own, and nothing of ours appears in it twice."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)

    configure(settings(), fd=pipe.fd)
    logging.getLogger("app").warning("the app's own")

    assert (root.handlers, root.level) == before
    assert pipe.text() == ""
    assert not logging.getLogger("tonnage").propagate


def test_configuring_again_replaces(pipe: Pipe) -> None:
    """One line an event, after a second call too."""
    for _ in range(2):
        configure(settings(log_level="debug"), fd=pipe.fd)

    logging.getLogger("tonnage").info("once")
    logging.getLogger("uvicorn.error").info("once")

    assert pipe.text().count("once") == 2
    assert len(logging.getLogger("uvicorn.error").filters) == 1


@pytest.mark.parametrize(
    ("log_level", "expected"), [("warning", ""), ("info", ""), ("debug", "DEBUG    Started")]
)
def test_uvicorns_chatter_is_debug(
    pipe: Pipe, log_level: Literal["debug", "info", "warning"], expected: str
) -> None:
    """What uvicorn says of itself is shown to those who ask; its errors always."""
    configure(settings(log_level=log_level), fd=pipe.fd)

    logging.getLogger("uvicorn.error").info("Started server process [%d]", 4)
    assert expected in (chatter := pipe.text())
    assert bool(chatter) == bool(expected)

    logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    assert "ERROR    Exception in ASGI application" in pipe.text()


@pytest.mark.parametrize("log_level", ["info", "warning"])
def test_access_log_has_its_own_switch(pipe: Pipe, log_level: Literal["info", "warning"]) -> None:
    """Switched on, it stays whatever the level, WebSockets included; and it stays readable."""
    configure(settings(log_level=log_level, access_log=True), fd=pipe.fd)

    request = ("10.0.0.1:5", "GET", "/a?b=1", "1.1", 200)
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *request)
    assert pipe.text().endswith(' INFO     10.0.0.1:5 - "GET /a?b=1 HTTP/1.1" 200\n')

    configure(settings(access_log=False), fd=pipe.fd)
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *request)
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "10.0.0.1:5", "/ws")
    assert pipe.text() == ""


def test_websockets_are_in_the_access_log(pipe: Pipe) -> None:
    """Uvicorn writes them to the logger of its chatter; they are told apart."""
    configure(settings(access_log=True), fd=pipe.fd)

    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "10.0.0.1:5", "/ws")

    assert pipe.text().endswith(' INFO     10.0.0.1:5 - "WebSocket /ws" [accepted]\n')


@pytest.mark.parametrize(
    ("environ", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)]
)
def test_colour_is_for_terminals(environ: dict[str, str], colored: bool) -> None:
    """Only the level is coloured, and not where ``NO_COLOR`` holds anything."""
    reading, terminal = pty.openpty()
    tty.setraw(terminal)
    try:
        configure(settings(), fd=terminal, environ=environ)
        logging.getLogger("tonnage").warning("low")
        written = os.read(reading, 1000).decode()
    finally:
        os.close(reading)
        os.close(terminal)

    level = "\x1b[33mWARNING \x1b[0m" if colored else "WARNING "
    assert written[9:] == f"{level} low\n"


def test_lines_of_forked_processes_do_not_mix(pipe: Pipe) -> None:
    """Two processes that log at the same time write whole lines."""
    configure(settings("json"), fd=pipe.fd)
    child = fork(lambda: _log_lines("child"))
    _log_lines("parent")
    assert status_of(child) == 0

    lines = pipe.objects()
    assert len(lines) == 100
    assert {line["pid"] for line in lines} == {os.getpid(), child}


def _log_lines(who: str) -> None:
    for number in range(50):
        logging.getLogger("tonnage").info("%s %d %s", who, number, "x" * 200)


@pytest.mark.parametrize("spoil", [lambda pipe: os.write(pipe.fd, bytes(2**16)), None])
def test_log_that_nobody_takes_does_not_stop_the_caller(
    pipe: Pipe, spoil: Callable[[Pipe], object] | None
) -> None:
    """A full pipe that must not be waited for, or a closed one, loses the line and no more."""
    if spoil is not None:
        spoil(pipe)
    configure(settings(), fd=pipe.fd if spoil is not None else -1)

    logging.getLogger("tonnage").error("lost")


def test_record_that_cannot_be_formatted_is_reported(pipe: Pipe) -> None:
    """A wrong placeholder is a mistake of ours; the caller goes on, and the place is named."""
    configure(settings(), fd=pipe.fd)

    logging.getLogger("tonnage").error("%d MB", "many")

    written = pipe.text()
    assert "ERROR    a record could not be formatted: TypeError(" in written
    assert f"at {__file__}:" in written


class FullPipe:
    """A pipe that waits for its reader, as stderr does, and is full."""

    def __init__(self) -> None:
        self.reading, self.fd = os.pipe()
        os.set_blocking(self.reading, False)
        # As small as they come, so that a test can fill it.
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, 4096)
        os.write(self.fd, b"." * 4095 + b"\n")

    def text(self) -> str:
        """Return what is in it, which makes room."""
        try:
            return os.read(self.reading, 2**16).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reading)
        os.close(self.fd)


@pytest.fixture
def full() -> Iterator[FullPipe]:
    """Yield a pipe that is full."""
    pipe = FullPipe()
    yield pipe
    pipe.close()


@pytest.fixture(params=["told not to wait", "waiting for room"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write as today's Linux can, and as others can."""
    if request.param == "waiting for room":
        monkeypatch.delattr(os, "RWF_NOWAIT")


@pytest.mark.usefixtures("_way")
def test_nobody_waits_for_a_reader_who_does_not_read(full: FullPipe) -> None:
    """The first line waits for a moment, those that follow do not; all are counted."""
    configure(settings("json"), fd=full.fd)
    began = time.monotonic()

    for number in range(1000):
        logging.getLogger("tonnage").warning("%d", number)

    # A thousand waits would be 50 s; without bounds it would be for ever.
    assert WAIT_SECONDS <= time.monotonic() - began < 5.0
    assert full.text() == "." * 4095 + "\n"
    logging.getLogger("tonnage").warning("again")
    notice, again = full.text().splitlines()
    assert "1000 line(s) of this log were dropped since " in json.loads(notice)["message"]
    assert json.loads(again)["message"] == "again"
    logging.getLogger("tonnage").warning("once more")
    (line,) = full.text().splitlines()
    assert json.loads(line)["message"] == "once more"


@pytest.mark.usefixtures("_way")
def test_a_slow_reader_gets_every_line(full: FullPipe) -> None:
    """There is room within the time that a line waits."""
    configure(settings(), fd=full.fd)
    reader = threading.Timer(WAIT_SECONDS / 5, full.text)
    reader.start()

    logging.getLogger("tonnage").warning("waited")

    reader.join()
    assert "waited" in full.text()


def test_a_line_that_was_cut_off_does_not_spoil_the_next(full: FullPipe) -> None:
    """Of one that is longer than the pipe a part is out; it counts as dropped."""
    full.text()
    configure(settings(), fd=full.fd)

    logging.getLogger("tonnage").warning("x" * 8000)
    assert len(full.text()) == 4096
    logging.getLogger("tonnage").warning("whole")

    nothing, notice, whole = full.text().split("\n")[:3]
    assert nothing == ""
    assert "1 line(s) of this log were dropped" in notice
    assert whole.endswith("whole")


def test_a_child_does_not_tell_of_what_its_parent_dropped(full: FullPipe) -> None:
    """Each process tells of its own lines, so that no line is counted twice."""
    configure(settings(), fd=full.fd)
    logging.getLogger("tonnage").warning("dropped")
    full.text()

    assert status_of(fork(lambda: logging.getLogger("tonnage").warning("child"))) == 0
    assert full.text().count("\n") == 1
    logging.getLogger("tonnage").warning("parent")
    assert "1 line(s) of this log were dropped" in full.text()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_secrets_are_hidden(pipe: Pipe, log_format: Literal["json", "text"]) -> None:
    """In messages, fields and exceptions."""
    configure(settings(log_format), fd=pipe.fd)
    try:
        raise ValueError("no connection to redis://app:hunter2@cache/0")
    except ValueError:
        logging.getLogger("tonnage").exception(
            "GET /login?token=hunter2", extra={"fields": {"admin_token": "hunter2"}}
        )

    written = pipe.text()
    assert "hunter2" not in written
    assert written.count("***") == 4  # the traceback has the line of code too
    assert "redis://app:***@cache/0" in written


def test_the_id_of_the_request_is_a_field(pipe: Pipe) -> None:
    """Where requests have one."""
    configure(settings(), fd=pipe.fd)

    token = current.set("abc")
    logging.getLogger("tonnage").warning("slow")
    current.reset(token)
    logging.getLogger("tonnage").warning("idle")

    slow, idle = pipe.text().splitlines()
    assert slow.endswith("slow request_id=abc")
    assert idle.endswith("idle")
