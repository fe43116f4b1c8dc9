"""One run: one of the two backends, in a box of one size, with all that it needs made anew.

    run = measure(scenario, WAYS[2], uploads, seconds=60, limit_bytes=512 * MIB)

A run ends with an orderly end of the backend, after which what it has acknowledged is looked for,
each record by its key: what it still had in its buffers is stored by then, or lost.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.ports import free_port
from tests.support.server import clean_environment

from benchmarks import storm
from benchmarks.beforeafter import figures
from benchmarks.beforeafter.crowd import Played, play
from benchmarks.beforeafter.figures import Records
from benchmarks.beforeafter.scenario import PORTRAIT, Scenario
from benchmarks.beforeafter.services import Services, services
from benchmarks.beforeafter.site import Site
from benchmarks.beforeafter.watching import (
    PROBE_SECONDS,
    Seen,
    asked_between,
    first_answer,
    watching,
    well_again,
)
from benchmarks.box import MemoryBox
from benchmarks.portrait import portrait
from benchmarks.server import StartError

START_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 2.0
"""From the first answer until memory at start is read: workers come one after another."""
RECOVERY_SECONDS: Final = 60.0
SERIES_SECONDS: Final = 0.5
"""How fine the curves are that are kept."""


@dataclass(frozen=True, slots=True)
class Way:
    """One of the three that are compared: a side of the scenario, and how large its box is."""

    name: str
    title: str
    side: str
    is_wide: bool = False


WAYS: Final = (
    Way("naive-wide", "as it was, {wide}", "naive", is_wide=True),
    Way("naive", "as it was, {limit}", "naive"),
    Way("tonnage", "on Tonnage, {limit}", "tonnage"),
)


def turns(number: int) -> tuple[Way, ...]:
    """Return all ways in the order of the run of this *number*, from 1.

    Each run begins with another, so that what one leaves behind, as a warm disk, favours none.
    """
    first = (number - 1) % len(WAYS)
    return WAYS[first:] + WAYS[:first]


@dataclass(frozen=True, slots=True)
class Run:
    """What one run has shown.

    Attributes:
        figures: by their names (``benchmarks.beforeafter.figures``).
        outcomes: how many requests came to what, by visit.
        records: what was acknowledged, and what of it is lost, by kind.
        series: memory in bytes and kills by the kernel so far, by seconds since the load began.
    """

    figures: dict[str, float]
    outcomes: dict[str, dict[str, int]]
    records: dict[str, Records]
    series: list[tuple[float, int, int]]


def uploads_of(scenario: Scenario) -> dict[str, bytes]:
    """Return the files that *scenario* sends, by their paths."""
    steps = [*scenario.once, *(step for visit in scenario.visits for step in visit.steps)]
    paths = {step.file.path for step in steps if step.file is not None}
    if PORTRAIT in paths:
        # Numba compiles for a minute when rembg, which may be what a photo is for, is first
        # imported on a machine: not in the measured time.
        subprocess.run([sys.executable, "-c", "import rembg"], capture_output=True, check=False)
    return {
        path: portrait() if path == PORTRAIT else (scenario.directory / path).read_bytes()
        for path in paths
    }


def measure(
    scenario: Scenario,
    way: Way,
    uploads: Mapping[str, bytes],
    *,
    seconds: float,
    limit_bytes: int,
) -> Run:
    """Make one run of *way* in a box of *limit_bytes*.

    Raises:
        StartError: it gives no answer, though it has all the memory it can want, or is Tonnage.
        BoxError: no box can be made here.
    """
    side = scenario.sides[way.side]
    with (
        tempfile.TemporaryDirectory(prefix="before-after-") as name,
        services(scenario, Path(name)) as given,
        MemoryBox(limit_bytes) as box,
    ):
        place = Path(name)
        environment = clean_environment() | given.environment | _places(scenario, place)
        with Site(
            side.command, box, free_port(), scenario.directory, environment | dict(side.env)
        ) as site:
            played, seen, found = storm.run(
                _load(scenario, way, site, box, given, uploads, seconds)
            )
            site.stop()
            found |= given.figures()
            found |= figures.of_answers(played)
            records = figures.records(
                played.acknowledged, lambda kind: given.keys(kind, place / "data")
            )
            found |= figures.of_records(records)
            if box.peak_bytes:
                found["charged_bytes"] = float(box.peak_bytes)
            found |= {
                "kernel_kills": float(box.kernel_kills),
                "restarts": float(site.restarts),
                "log_bytes": float(_size_of_logs(place)),
            }
            return Run(found, _outcomes(played), records, _series(seen, played))


async def _load(
    scenario: Scenario,
    way: Way,
    site: Site,
    box: MemoryBox,
    given: Services,
    uploads: Mapping[str, bytes],
    seconds: float,
) -> tuple[Played, Seen, dict[str, float]]:
    """Watch *site* from its start until all is well again after the load."""
    found: dict[str, float] = {}
    # The twin may not even start in so little memory; the load shows that. Others have to.
    must_start = way.side == "tonnage" or way.is_wide
    async with watching(
        box, site.port, given, scenario.probe, asks_state=way.side == "tonnage"
    ) as seen:
        played: Played | None = None
        has_started = await first_answer(site, START_SECONDS, gives_up=must_start)
        if has_started:
            await asyncio.sleep(SETTLE_SECONDS)
            found["start_bytes"] = float(seen.used_bytes[-1])
        if has_started or not must_start:
            ends_at = time.monotonic() + seconds
            recovery = asyncio.create_task(
                well_again(site.port, scenario.probe, ends_at, RECOVERY_SECONDS)
            )
            played = await play(scenario, site.port, uploads, seconds=seconds)
            found["recovery_seconds"] = await recovery
    if played is None:
        raise StartError(f"{scenario.app}, {way.name}: no answer:\n{site.printed()}")
    found |= figures.of_memory(seen.used_between(played.began_at, played.ended_at))
    found["peak_bytes"] = float(max(seen.used_bytes))
    found |= figures.of_probes(
        asked_between(seen.served, played.began_at, played.ended_at),
        asked_between(seen.healthy, played.began_at, played.ended_at),
        PROBE_SECONDS,
    )
    return played, seen, found | seen.told.figures()


def _places(scenario: Scenario, place: Path) -> dict[str, str]:
    """Return where a backend may write: nowhere but below *place*."""
    return {
        f"{scenario.app.upper()}_DATA": str(place / "data"),
        "XDG_RUNTIME_DIR": str(place),
        "XDG_STATE_HOME": str(place),
    }


def _size_of_logs(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*.log*") if path.is_file())


def _outcomes(played: Played) -> dict[str, dict[str, int]]:
    visits = sorted({each.visit for each in played.answers})
    return {
        visit: dict(figures.outcomes_of(a for a in played.answers if a.visit == visit))
        for visit in visits
    }


def _series(seen: Seen, played: Played) -> list[tuple[float, int, int]]:
    """Return the highest use in each half second, so that no peak is lost."""
    highest: dict[int, tuple[int, int]] = {}
    for at, used, kills in zip(seen.sampled_at, seen.used_bytes, seen.kernel_kills, strict=True):
        slot = int((at - played.began_at) // SERIES_SECONDS)
        highest[slot] = max(used, highest.get(slot, (0, 0))[0]), kills
    return [(slot * SERIES_SECONDS, *highest[slot]) for slot in sorted(highest)]


def details(run: Run) -> dict[str, Any]:
    """Return *run* as it is kept."""
    return {
        "figures": {name: round(value, 6) for name, value in run.figures.items()},
        "outcomes": run.outcomes,
        "records": {kind: asdict(each) for kind, each in run.records.items()},
        "series": [[seconds, used, kills] for seconds, used, kills in run.series],
    }
