"""The four reference backends together in one cgroup, for half an hour, while things go wrong.

The demonstration (``examples/demo``) serves them all with one worker, over PostgreSQL, MongoDB and
Redis, which are outside of the cgroup. People use them at a modest rate, and note what they were
acknowledged. Meanwhile PostgreSQL and Redis are killed and started again, workers are killed, a
route leaks, crowds send photos, and slow clients hold on to what they have: from a timetable with a
seed. In the end every promise is held against what was seen; the exit status is 1 if one was
broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.support import postgres

from benchmarks import options
from benchmarks.probe import probing
from benchmarks.record import HERE, Result, machine
from benchmarks.soaking.asking import (
    DYING_SECONDS,
    Broken,
    OverError,
    Person,
    World,
    client_of,
    unexplained,
)
from benchmarks.soaking.faults import KINDS, Scene
from benchmarks.soaking.ledger import Ledger
from benchmarks.soaking.people import VISITS, Visit, send_photo
from benchmarks.soaking.place import Place, place
from benchmarks.soaking.stored import compare, purchases_stored
from benchmarks.soaking.timetable import SETTLE_SECONDS, Fault, timetable
from benchmarks.soaking.trend import FLOOR_SECONDS, FLOOR_SHARE, trend
from benchmarks.soaking.verdict import FLAT_SHARE, Found, verdicts
from benchmarks.soaking.watch import LOOK_SECONDS, deaths_of, level_of, watching
from tonnage.units import format_bytes

SUMMARY = "all four reference backends in 512 MB for 30 minutes, with faults: is a promise broken?"

IMAGES = HERE.parent / "docs" / "images"
PEOPLE = 24
CALM_SECONDS = 60.0
"""How long the level may take until it is OK again, and purchases until all are stored."""

HEALTH_SECONDS = 5.0
"""How long health may take: as long as platforms wait."""

MOST_SHOWN = 50
MOST_LINES = 500
PHOTO_SIZE = (1200, 1600)
PHOTO_PAUSE_SECONDS = 2.0
"""Before each request of the one who sends photos: some five portraits a minute."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=30.0, help="seconds from fault to fault")
    parser.add_argument("--faults", type=_kinds, default=",".join(KINDS), help="with commas")
    parser.add_argument("--seed", type=int, default=1, help="of the faults, and of what people do")
    parser.add_argument("--model", default="u2netp", help="of portraits: a name, or an ONNX file")
    parser.add_argument("--images", type=Path, default=IMAGES, metavar="DIR", help="for pictures")
    options.add_limit(parser)
    options.add_rate(parser, 40)


def run(chosen: argparse.Namespace) -> Result:
    """Do it, and draw it."""
    from benchmarks.soaking import picture  # matplotlib, missed now and not half an hour later

    done = measure(chosen)
    return replace(done, pictures=[picture.draw(done.details, done.title, chosen.images)])


def measure(chosen: argparse.Namespace) -> Result:
    """Start everything, let time pass, and hold promises against what was seen."""
    reason = postgres.why_not()
    if reason is not None:
        sys.exit(f"no PostgreSQL: {reason}")
    before = machine()
    with place(chosen.limit, chosen.model) as there:
        return asyncio.run(_soak(there, chosen, before))


def result(
    found: Found, seen: dict[str, Any], chosen: argparse.Namespace, before: dict[str, Any]
) -> Result:
    """Return the table of verdicts on what was *found*, and with it what else was *seen*."""
    judged, tally = verdicts(found), found.tally
    broken = unexplained(tally.broken, found.kills)
    return Result(
        name="soak",
        title=f"fitflix, lvlup, fibuca and eventide in {format_bytes(chosen.limit)} for"
        f" {chosen.minutes:g} minutes, some {chosen.rate:g} requests/s,"
        f" {len(seen['faults'])} faults",
        columns=["promise", "found", "verdict"],
        rows=[each.row() for each in judged],
        notes=[
            "acknowledged: answered with 201, and LvlUp's purchases and Fibuca's photos with 202."
            " LvlUp's events and beats are answered with 202 too, but it may drop them, and counts"
            " what it drops: they are not looked for. What was asked for and not acknowledged may"
            " be stored or not, and so may a photo whose sender was told that it became no portrait"
            f" ({_counted(seen['photos_failed'])}).",
            "refused: answered with 429 or 503. Nothing is wrong but during a fault and in the"
            f" {SETTLE_SECONDS:g} s after it.",
            f"memory: the floor is the lowest {FLOOR_SHARE:.0%} of the working set in each"
            f" {FLOOR_SECONDS:g} s; its slope is Theil and Sen's, over the last two thirds of the"
            " time, with its 95 % interval. It does not rise if all of that lies below"
            f" {FLAT_SHARE:.0%} of the limit: what leaks more slowly needs a longer soak."
            " Since workers are killed and recycled every few minutes, it tells what outlives them,"
            " and not what one that serves for days would gain.",
            "meant: a status that whoever asks knows what to do with, such as 409 for an event that"
            " is sold out. A request breaks with a killed worker if it was under way then, or sent"
            f" in the {DYING_SECONDS:g} s after it.",
        ],
        machine=before,
        details=seen
        | {
            "broken_promises": [each.promise for each in judged if each.is_kept is False],
            "statuses": {f"{status}": count for status, count in tally.statuses.items()},
            "unmeant": tally.unmeant[:MOST_SHOWN],
            "bare": tally.bare[:MOST_SHOWN],
            "unexplained": [asdict(each) for each in broken[:MOST_SHOWN]],
        },
    )  # fmt: skip


async def _soak(there: Place, chosen: argparse.Namespace, before: dict[str, Any]) -> Result:
    from tests.examples.portraits import portrait  # with onnx, which takes a second

    chance = random.Random(chosen.seed)
    seconds = 60 * chosen.minutes
    planned = timetable(
        chosen.faults, seconds=seconds, every_seconds=chosen.every, seed=chosen.seed
    )
    async with client_of(there.server.url) as client:
        scene = Scene(
            there.server, there.postgres, there.redis, World(client, chance), Ledger(),
            portrait(*PHOTO_SIZE),
        )  # fmt: skip
        async with watching(there.server, there.box) as series:
            async with probing(there.server.port, timeout_seconds=HEALTH_SECONDS) as health:
                began = time.monotonic()
                await _live(scene, planned, seconds, PEOPLE / chosen.rate)
            calm_after_seconds = await _calm(there, scene.ledger)
    last_level, deaths = level_of(there.server), deaths_of(there.server)
    kernel_kills, peak_bytes = there.box.kills(), there.box.peak()
    exit_status = await asyncio.to_thread(there.server.stop)
    stored = await compare(there.databases, scene.ledger)
    found = Found(
        kernel_kills=kernel_kills,
        peak_bytes=peak_bytes,
        limit_bytes=chosen.limit,
        trend=trend(series.seconds, series.used_bytes),
        last_level=last_level,
        calm_after_seconds=calm_after_seconds,
        tally=scene.world.tally,
        kills=scene.kills,
        deaths=deaths,
        health_answered=health.answered,
        health_failures=[Broken("GET /health", *each) for each in health.failures],
        acknowledged=scene.ledger.acknowledged(),
        stored=stored.faults,
        oversold=stored.oversold,
        exit_status=exit_status,
    )
    details = {
        "limit_bytes": chosen.limit,
        "faults": [
            {
                "kind": each.kind,
                "at_seconds": each.began - began,
                "seconds": each.ended - each.began,
            }
            for each in scene.world.spells
        ],
        "photos_failed": dict(scene.ledger.failures),
        "deaths": deaths,
        "series": asdict(series),
        "log": unusual(there.server.log),
    }
    return result(found, details, chosen, before)


async def _live(
    scene: Scene, planned: Sequence[Fault], seconds: float, pause_seconds: float
) -> None:
    """Have people come and go for *seconds*, and what is *planned* go wrong."""

    async def photo(person: Person, ledger: Ledger) -> None:
        await send_photo(person, ledger, scene.photo)

    async with asyncio.TaskGroup() as group:
        for number in range(PEOPLE):
            visit = VISITS[number % len(VISITS)]
            group.create_task(_visits(scene, visit, pause_seconds))
        group.create_task(_visits(scene, photo, PHOTO_PAUSE_SECONDS))
        began = time.monotonic()
        for fault in planned:
            await asyncio.sleep(began + fault.at_seconds - time.monotonic())
            print(f"{fault.at_seconds:7.1f} s  {fault.kind}, {fault.seconds:.1f} s", flush=True)
            group.create_task(_go_wrong(scene, fault))
        await asyncio.sleep(began + seconds - time.monotonic())
        scene.world.is_over = True


async def _visits(scene: Scene, visit: Visit, pause_seconds: float) -> None:
    with contextlib.suppress(OverError):
        while True:
            await visit(Person(scene.world, pause_seconds), scene.ledger)


async def _go_wrong(scene: Scene, fault: Fault) -> None:
    doing = asyncio.ensure_future(KINDS[fault.kind](scene, fault.seconds))
    with scene.world.spell(fault.kind):
        # A crowd waits for its portraits longer than it is one: that excuses no refusal.
        await asyncio.wait([doing], timeout=fault.seconds + SETTLE_SECONDS)
    with contextlib.suppress(OverError):
        await doing


async def _calm(there: Place, ledger: Ledger) -> float:
    """Wait until the level is OK and purchases are stored; return the seconds that it took."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < CALM_SECONDS:
        stored = await purchases_stored(there.databases.lvlup)
        if level_of(there.server) == "OK" and stored >= len(ledger.purchases):
            break
        await asyncio.sleep(LOOK_SECONDS)
    return waited


def unusual(log: str) -> list[str]:
    """Return the last lines of a server's log that are more than information."""
    return [line for line in log.splitlines() if '"level":"INFO"' not in line][-MOST_LINES:]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.items()) or "none"


def _kinds(text: str) -> list[str]:
    unknown = [kind for kind in text.split(",") if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no fault is called {', '.join(unknown)}: there are {', '.join(KINDS)}"
        )
    return text.split(",")
