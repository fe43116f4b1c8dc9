"""An application with a store that has a job done when it closes; it notes what came of that."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from tests.jobs import functions

from tonnage import isolated
from tonnage.errors import JobError
from tonnage.stores.background import background


async def close() -> None:
    """Ask for more than there is, and note how and how soon that is refused."""
    began = time.monotonic()
    try:
        await isolated(functions.clock, 0.0, memory="100G")
    except JobError as error:
        note(error, time.monotonic() - began)


def note(error: JobError, seconds: float) -> None:
    """Write it where the test reads it."""
    Path(os.environ["NOTES"]).write_text(f"{type(error).__name__} {seconds:.3f}")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open the store."""
    background().on_close(close)
    yield


app = Starlette(lifespan=lifespan)
