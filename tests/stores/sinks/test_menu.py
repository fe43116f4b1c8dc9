"""``tonnage.sinks``: each name is loaded when it is used, and names what it lacks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.support.server import clean_environment

from tonnage import sinks
from tonnage.sinks import NatsSink, PostgresSink, RedisStreamSink, Sink, SqlSink

_HEAVY = "asyncio asyncpg nats redis sqlalchemy tenacity"


def run(code: str) -> str:
    """Run *code* in a process of its own; return what it prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=clean_environment()
    )
    return done.stdout.strip()


def test_the_menu_itself_imports_nothing() -> None:
    """The menu itself imports nothing."""
    code = "import sys, tonnage.sinks; print([n for n in '{}'.split() if n in sys.modules])"
    assert run(code.format(_HEAVY)) == "[]"
    assert set(sinks.__all__) <= set(dir(sinks))
    with pytest.raises(AttributeError, match="NoSink"):
        _ = sinks.NoSink


@pytest.mark.parametrize(
    ("package", "extra", "call"),
    [
        ("asyncpg", "postgres", "PostgresSink('postgresql://there/base', 'events')"),
        ("sqlalchemy", "sql", "SqlSink('sqlite:///events.db', 'events')"),
        ("redis", "redis", "RedisStreamSink('events')"),
        ("nats", "nats", "NatsSink('nats://there', 'events')"),
    ],
)
def test_what_is_not_installed_is_named_when_the_sink_is_made(
    package: str, extra: str, call: str
) -> None:
    """What is not installed is named when the sink is made, and how to install it."""
    code = f"""
import sys
sys.modules[{package!r}] = None
from tonnage.errors import ConfigError
from tonnage import sinks
try:
    sinks.{call}
except ConfigError as error:
    print(error)
"""
    assert f"pip install 'tonnage[{extra}]'" in run(code)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PostgresSink("postgresql://there/base", "events"),
        lambda: SqlSink("sqlite:///events.db", "events"),
        lambda: RedisStreamSink("events"),
        lambda: NatsSink("nats://there", "events"),
    ],
)
async def test_what_was_never_used_is_closed_in_silence(make: Callable[[], Sink]) -> None:
    """A sink that was never used connects to nobody, and is closed in silence."""
    await make().close()
