"""What writers do at the end of a lifespan, and after it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.support.server import ROOT, clean_environment

BEGINNING = """
import asyncio, logging, sys
from tonnage import BatchWriter, Tonnage
from tonnage.stores import finishing

logging.basicConfig(format="%(message)s", stream=sys.stdout)

class List:
    is_stuck = False

    async def write(self, batch):
        while self.is_stuck:
            await asyncio.sleep(0.01)
        print(*(record["n"] for record in batch.records), flush=True)

    async def close(self): ...

sink = List()
events = BatchWriter("events", sink, flush_seconds=3600)

async def app(scope, receive, send):
    for what in ("startup", "shutdown"):
        await receive()
        await events.add({"n": what})
        await send({"type": f"lifespan.{what}.complete"})

async def live():
    async def send(message):
        print(message["type"], flush=True)

    async def receive():
        return {}

    await Tonnage(app)({"type": "lifespan"}, receive, send)
"""


def run(code: str) -> str:
    """Run *code* after the beginning in a process of its own, which ends without Python's end."""
    done = subprocess.run(
        [sys.executable, "-c", f"{BEGINNING}\n{code}\nimport os\nos._exit(0)"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=ROOT,
        env=clean_environment(),
    )
    assert done.stderr == ""
    return done.stdout


def test_an_application_may_begin_again() -> None:
    """Each lifespan ends once all is stored that it has added; the writer goes on."""
    once = "lifespan.startup.complete\nstartup shutdown\nlifespan.shutdown.complete\n"
    assert run("asyncio.run(live())\nasyncio.run(live())") == once * 2


def test_a_sink_that_is_stuck_does_not_hold_up_the_end() -> None:
    """Stores are closed then, and the log says what is lost."""
    code = """
sink.is_stuck = True
asyncio.run(events.add({"n": 1}))
asyncio.run(finishing.finish(flush_seconds=0.05, close_seconds=0.05))
"""
    assert "writer events: 1 records dropped at the end" in run(code)


@pytest.mark.parametrize("code", ["from tonnage.stores import background; background.begin()"])
def test_it_is_left_to_a_server_that_sees_to_it(code: str) -> None:
    """``tonnage run`` closes stores itself, after the lifespan."""
    assert run(f"{code}\nasyncio.run(live())") == (
        "lifespan.startup.complete\nlifespan.shutdown.complete\n"
    )


def test_nothing_is_loaded_for_it() -> None:
    """An application without writers loads nothing at its end."""
    code = """
import asyncio, sys
from tonnage.stores.finishing import finish
asyncio.run(finish())
print([name for name in sys.modules if name.startswith("tonnage.stores.writer")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, timeout=30, env=clean_environment(),
    )  # fmt: skip
    assert done.stdout == "[]\n"
