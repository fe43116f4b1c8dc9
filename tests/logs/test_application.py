"""The log of an application as it arrives on stdout and in files."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.support.forking import fork, status_of
from tests.support.server import clean_environment
from tests.support.waiting import await_true

import tonnage
from tonnage.errors import ConfigError
from tonnage.logs.application import Handler
from tonnage.logs.context import current
from tonnage.logs.lines import MAX_LINE_BYTES
from tonnage.logs.texts import MAX_TEXT_CHARS


@pytest.fixture(autouse=True)
def _as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin without settings in a directory of its own, and put back what is the process's."""
    monkeypatch.chdir(tmp_path)
    for name in ("TONNAGE_ENV", "LOG_LEVEL", "TONNAGE_LOG_LEVEL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if isinstance(handler, Handler):
            handler.close()
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def flush() -> None:
    """Wait until all lines are out."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Handler):
            handler.flush()


Read = Callable[[], list[str]]


@pytest.fixture
def written(capfd: pytest.CaptureFixture[str]) -> Read:
    """Return what returns the lines on stdout since the last call."""

    def read() -> list[str]:
        flush()
        return capfd.readouterr().out.splitlines()

    return read


def objects(lines: list[str]) -> list[dict[str, Any]]:
    """Return what lines of JSON say."""
    return [json.loads(line) for line in lines]


def log_with_structlog() -> None:
    """Log what both ways of logging are to give alike."""
    tonnage.get_logger("shop").warning("low", left=3, items=["a", 1], api_key="hunter2")


def log_with_the_standard_library() -> None:
    """Log the same."""
    extra = {"left": 3, "items": ["a", 1], "api_key": "hunter2"}
    logging.getLogger("shop").warning("%s", "low", extra=extra)


both = pytest.mark.parametrize("log", [log_with_structlog, log_with_the_standard_library])


@both
def test_a_line_of_json_has_the_promised_keys(log: Callable[[], None], written: Read) -> None:
    """The same for structlog and for libraries."""
    tonnage.setup_logging(environment="production")
    log()

    (line,) = objects(written())
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
    del line["time"]
    assert list(line) == ["level", "logger", "message", "left", "items", "api_key"]
    assert line == {
        "level": "WARNING", "logger": "shop", "message": "low", "left": 3, "items": ["a", 1],
        "api_key": "***",
    }  # fmt: skip


@both
def test_a_line_of_text_is_for_people(log: Callable[[], None], written: Read) -> None:
    """Time, level, logger, event and fields."""
    tonnage.setup_logging(environment="development")
    log()
    (line,) = written()
    assert line[29:] == " WARNING  shop: low left=3 items=['a', 1] api_key=***"


@pytest.mark.parametrize(
    ("environment", "variables", "level", "expected"),
    [
        ("production", {}, None, ["warning"]),
        ("development", {}, None, ["info", "warning"]),
        ("production", {"LOG_LEVEL": "debug"}, None, ["debug", "info", "warning"]),
        ("development", {"LOG_LEVEL": "WARN"}, None, ["warning"]),
        ("production", {"LOG_LEVEL": "debug"}, "error", []),
        (None, {"TONNAGE_ENV": "production"}, None, ["warning"]),
        (None, {"TONNAGE_ENV": "development"}, None, ["info", "warning"]),
    ],
)
@pytest.mark.parametrize("way", ["structlog", "standard library"])
def test_the_level_is_what_somebody_says_or_follows_from_the_environment(
    environment: str | None,
    variables: dict[str, str],
    level: str | None,
    expected: list[str],
    way: str,
    written: Read,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For both ways of logging."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tonnage.setup_logging(environment=environment, level=level, files_kept=0)
    log = tonnage.get_logger("a") if way == "structlog" else logging.getLogger("a")
    for name in ("debug", "info", "warning"):
        getattr(log, name)(name)
    assert [
        name for line in written() for name in ("debug", "info", "warning") if name in line
    ] == (expected)


def test_in_production_there_is_never_a_file(tmp_path: Path, written: Read) -> None:
    """A container's disk is not for logs."""
    tonnage.setup_logging(environment="production", directory=tmp_path / "logs")
    logging.getLogger("a").error("said")
    assert len(written()) == 1
    assert list(tmp_path.iterdir()) == []


def test_in_development_lines_are_in_a_file_too(tmp_path: Path, written: Read) -> None:
    """Two are kept by default, of the size that is given."""
    tonnage.setup_logging(environment="development", file_bytes=4096)
    assert list(tmp_path.iterdir()) == []
    for number in range(200):
        logging.getLogger("a").info("%d %s", number, "x" * 50)
    lines = written()
    assert len(lines) == 200
    assert sorted(each.name for each in (tmp_path / "logs").iterdir()) == ["app.log", "app.log.1"]
    newest = (tmp_path / "logs" / "app.log").read_text().splitlines()
    older = (tmp_path / "logs" / "app.log.1").read_text().splitlines()
    assert [*older, *newest] == lines[-len(older) - len(newest) :]


def test_a_file_that_cannot_be_written_is_named_once(tmp_path: Path, written: Read) -> None:
    """And lines go on to stdout."""
    (tmp_path / "logs").write_text("no directory")
    tonnage.setup_logging(environment="development")
    for _ in range(3):
        logging.getLogger("a").info("said")
    lines = written()
    assert sum("takes no lines" in line for line in lines) == 1
    assert sum("said" in line for line in lines) == 3


def test_the_request_is_named_in_its_lines(written: Read) -> None:
    """In tasks and threads to which the context goes as well."""
    tonnage.setup_logging(environment="production")

    async def serve(name: str) -> None:
        current.set(name)
        await asyncio.gather(say(name), asyncio.to_thread(logging.getLogger("a").error, name))

    async def say(name: str) -> None:
        await asyncio.sleep(0)
        structlog.get_logger().error(name)

    async def serve_all() -> None:
        await asyncio.gather(serve("one"), serve("two"))
        logging.getLogger("a").error("idle")

    asyncio.run(serve_all())
    lines = objects(written())
    assert [line.get("request_id") for line in lines if line["message"] == "idle"] == [None]
    named = [(line["message"], line["request_id"]) for line in lines if line["message"] != "idle"]
    assert sorted(named) == [("one", "one")] * 2 + [("two", "two")] * 2


def test_the_request_is_named_in_lines_for_people(written: Read) -> None:
    """As the first of the fields."""
    tonnage.setup_logging(environment="development")

    def serve() -> None:
        current.set("one")
        structlog.get_logger("shop").error("low", left=3)

    contextvars.copy_context().run(serve)
    (line,) = written()
    assert line[29:] == " ERROR    shop: low request_id=one left=3"


def test_exceptions_are_bounded_text(written: Read) -> None:
    """Their end is kept, of the event its beginning."""
    tonnage.setup_logging(environment="production")
    try:
        raise ValueError("x" * 20_000 + "end")
    except ValueError as error:
        logging.getLogger("a").exception("begin%s", "y" * 20_000)
        structlog.get_logger().exception("begin" + "y" * 20_000)
        structlog.get_logger().error("begin", exc_info=error)
    structlog.get_logger().error("none", exc_info=True)

    first, second, third, none = objects(written())
    for line in (first, second, third):
        assert line["message"].startswith("begin")
        assert len(line["message"]) < MAX_TEXT_CHARS + 10
        assert line["exception"].endswith("end")
        assert len(line["exception"]) < MAX_TEXT_CHARS + 10
        assert line["level"] == "ERROR"
    assert "exception" not in none


@pytest.mark.parametrize("environment", ["production", "development"])
@pytest.mark.parametrize(
    "value", [object(), "lone \udc80", {1, 2}, b"x", float("nan"), {1: {2: 3}}, "x" * 10**6]
)
def test_every_line_is_written_whatever_the_fields_hold(
    environment: str, value: object, written: Read
) -> None:
    """And is no longer than the bound."""
    tonnage.setup_logging(environment=environment, files_kept=0)
    structlog.get_logger().error("odd \udc80", value=value, other=[value] * 10)
    logging.getLogger("a").error("odd \udc80", extra={"value": value})
    lines = written()
    assert len(lines) == 2
    assert max(map(len, lines)) <= MAX_LINE_BYTES + 1000
    assert all("odd \\\\udc80" in line or "odd \\udc80" in line for line in lines)


@pytest.mark.parametrize("environment", ["production", "development"])
def test_no_line_can_be_forged(environment: str, written: Read) -> None:
    """Line breaks and what terminals obey are spelled out, in events and in fields."""
    forged = "/\r\n2026-01-01 ERROR forged \x1b[2J \x9b2J \u2028 \x85 end"
    tonnage.setup_logging(environment=environment, files_kept=0)
    structlog.get_logger().error(forged, path=forged)
    logging.getLogger("a").error("%s", forged)
    text = "\n".join(written())
    assert not set(text) & set("\x1b\r\x9b\u2028\x85")
    assert not any(line.startswith("2026-01-01") for line in text.splitlines())


def test_a_record_that_cannot_be_formatted_is_named(written: Read) -> None:
    """The caller goes on, and can find the place."""
    tonnage.setup_logging(environment="production")
    root = logging.getLogger()
    # The test runner's own would raise the mistake.
    root.handlers[:] = [each for each in root.handlers if isinstance(each, Handler)]
    logging.getLogger("a").error("%d MB", "many")
    (line,) = objects(written())
    assert line["message"].startswith("a record could not be formatted: TypeError(")
    assert line["at"].startswith(f"{__file__}:")


class Stubborn:
    """Of this no text can be made."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("environment", ["production", "development"])
def test_no_call_of_structlog_fails_its_caller(environment: str, written: Read) -> None:
    """As none of the standard library does: what cannot be shown is named, and where it is."""
    tonnage.setup_logging(environment=environment, files_kept=0)
    log = tonnage.get_logger("a")
    log.warning("field", stubborn=Stubborn(), other=1)
    log.warning("bad %d", "x")
    log.log(35, "bad %d", "x")
    log.warning("%s", Stubborn())
    log.warning(Stubborn())
    asyncio.run(log.awarning("bad %d", "x", other=1))
    log.bind(bound=Stubborn()).exception("bound")
    log.warning("odd", exc_info=5, stack_info=True)
    logging.getLogger("a").warning("field", extra={"stubborn": Stubborn(), "other": 1})

    text = "\n".join(written())
    assert text.count("Stubborn cannot be shown: RuntimeError") == 3
    assert text.count("a record could not be formatted: TypeError(") == 3
    assert text.count("a record could not be formatted: RuntimeError(") == 2
    assert text.count(f"{__file__}:") >= 4
    assert (
        text.count(" WARNING  a: odd" if environment == "development" else '"message":"odd"') == 1
    )


def test_structlog_formats_what_it_always_has(written: Read) -> None:
    """With arguments one after another or by name, a level by its number, the event by its name."""
    tonnage.setup_logging(environment="production", level="info")
    log = tonnage.get_logger("a")
    log.info("%s and %d", "one", 2)
    log.info("%(what)s", {"what": "named"})
    log.info("100 %")
    log.log(logging.ERROR, "by %s", "number")
    log.log(25, "between")
    log.info(event="by keyword")
    log.debug("%d", "never formatted")
    log.log(5, "%d", "never formatted")
    asyncio.run(log.ainfo("from %s", "a coroutine"))
    log.fatal("lost")

    assert [(line["level"], line["message"]) for line in objects(written())] == [
        ("INFO", "one and 2"),
        ("INFO", "named"),
        ("INFO", "100 %"),
        ("ERROR", "by number"),
        ("INFO", "between"),
        ("INFO", "by keyword"),
        ("INFO", "from a coroutine"),
        ("CRITICAL", "lost"),
    ]


def test_a_number_that_json_does_not_have_spoils_no_other_field(written: Read) -> None:
    """It becomes a text, at any depth."""
    tonnage.setup_logging(environment="production")
    odd = {"nan": float("nan"), "deep": [float("-inf")], "huge": 10**5000, "other": 1}
    tonnage.get_logger("a").warning("odd", **odd)
    logging.getLogger("a").warning("odd", extra=odd)

    found = [[line[key] for key in odd] for line in objects(written())]
    assert found == [["nan", ["-inf"], "<a number of 16610 bits>", 1]] * 2


@pytest.mark.parametrize("environment", ["production", "development"])
def test_fields_called_as_the_lines_own_keys_are_kept(environment: str, written: Read) -> None:
    """Under a name that is free, and the line's own stay what they are."""
    tonnage.setup_logging(environment=environment, files_kept=0)
    fields = {"level": "forged", "time": "noon", "logger": "z", "level_": "second"}
    tonnage.get_logger("a").warning("said", **fields)

    (line,) = written()
    if environment == "production":
        said = json.loads(line)
        assert (said["level"], said["logger"], said["message"]) == ("WARNING", "a", "said")
        line = " ".join(f"{name}={value}" for name, value in said.items())
    for shown in ("level__=forged", "time_=noon", "logger_=z", "level_=second"):
        assert f" {shown}" in line


def test_setting_up_again_replaces(written: Read) -> None:
    """One line an event, and what basicConfig has made is gone; other handlers stay."""
    root = logging.getLogger()
    other = logging.NullHandler()
    root.addHandler(other)
    root.addHandler(logging.StreamHandler(sys.stdout))
    for _ in range(2):
        tonnage.setup_logging(environment="production")
    logging.getLogger("a").error("once")
    assert len(written()) == 1
    assert other in root.handlers


@pytest.mark.parametrize("in_thread", [False, True])
def test_setting_up_again_leaves_no_file_open(tmp_path: Path, *, in_thread: bool) -> None:
    """Neither that of a script nor that of a server's process."""

    def log() -> None:
        logging.getLogger("a").error("once")

    def open_files() -> int:
        files = (os.path.realpath(each) for each in Path("/proc/self/fd").iterdir())
        return sum(each.startswith(str(tmp_path.resolve())) for each in files)

    for _ in range(3):
        tonnage.setup_logging(environment="development")
        if in_thread:
            beside = threading.Thread(target=log)
            beside.start()
            beside.join()
        else:
            log()
    # A directory and a file, of the last one.
    flush()
    await_true(lambda: open_files() == 2, "those of before are closed")


def test_a_child_begins_anew(written: Read) -> None:
    """It has its own thread and counts, and writes nothing that is its parent's."""
    tonnage.setup_logging(environment="production")

    async def log() -> None:
        logging.getLogger("a").error("said by %d", os.getpid())

    asyncio.run(log())

    def begin_anew() -> None:
        assert tonnage.log_statistics().emitted_lines == 0
        asyncio.run(log())
        flush()
        assert tonnage.log_statistics().written_lines == 1

    child = fork(begin_anew)
    assert status_of(child) == 0
    assert sorted(line["message"] for line in objects(written())) == sorted(
        f"said by {pid}" for pid in (os.getpid(), child)
    )


def test_a_thread_begins_only_where_somebody_would_wait(written: Read) -> None:
    """An import may log, and its process be forked; so may a script, and lose nothing."""
    tonnage.setup_logging(environment="production")
    flush()

    # That of another test may be about to end.
    before = set(threading.enumerate())

    def begun() -> list[str]:
        return [each.name for each in threading.enumerate() if each not in before]

    logging.getLogger("a").error("imported")
    assert tonnage.log_statistics().written_lines == 1
    assert begun() == []

    async def serve() -> list[str]:
        logging.getLogger("a").error("served")
        return begun()

    assert asyncio.run(serve()) == ["tonnage-logs"]
    assert [line["message"] for line in objects(written())] == ["imported", "served"]


@pytest.mark.parametrize(
    "options",
    [
        {"environment": "staging"}, {"level": "loud"}, {"level": 10}, {"file_bytes": "some"},
        {"file_bytes": 10}, {"files_kept": -1}, {"files_kept": "2"}, {"mask": "iban"},
        {"mask": [1]},
    ],
)  # fmt: skip
def test_nonsense_is_refused(options: dict[str, Any]) -> None:
    """With what to write."""
    with pytest.raises(ConfigError, match=r": write|: .* write "):
        tonnage.setup_logging(**options)


def test_figures_of_a_log_that_is_not_set_up_are_refused() -> None:
    """With what to call first."""
    code = (
        "import tonnage\n"
        "try: tonnage.log_statistics()\n"
        "except tonnage.errors.ConfigError as error: print(error)"
    )
    assert _run(code) == "the log is not set up: call tonnage.setup_logging() first\n"


_WITHOUT_STRUCTLOG = """
import logging, sys
sys.modules["structlog"] = None
import importlib.util
importlib.util.find_spec = lambda name, find=importlib.util.find_spec: (
    None if name == "structlog" else find(name))
import tonnage
tonnage.setup_logging(environment="production")
logging.getLogger("a").error("said")
try:
    tonnage.get_logger("a")
except tonnage.errors.ConfigError as error:
    logging.getLogger("a").error("%s", error)
"""


def test_without_structlog_the_standard_library_is_served() -> None:
    """And get_logger says what to install."""
    said = _run(_WITHOUT_STRUCTLOG)
    assert objects(said.splitlines()[:1])[0]["message"] == "said"
    assert "pip install 'tonnage[logs]'" in said


_AT_THE_END = """
import asyncio, logging, tonnage
tonnage.setup_logging(environment="production")
async def serve():
    for number in range(1000):
        logging.getLogger("a").error("%d", number)
asyncio.run(serve())
"""


def test_when_python_ends_all_lines_are_out() -> None:
    """In order, though a thread had to write them."""
    events = [line["message"] for line in objects(_run(_AT_THE_END).splitlines())]
    assert events == [str(number) for number in range(1000)]


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
