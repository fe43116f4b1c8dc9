"""The reference backends as their originals were, and on Tonnage: the same load, the same memory.

Each backend has a scenario, ``examples/<app>/load.toml``, and a naive twin, ``naive.py``. Three
ways are run in turn, each from a cold start: as it was with all the memory that it can want, as it
was in the limit, and on Tonnage in the limit; each run begins with another. What comes out: a table
and a picture for each backend, and what the originals claimed beside what was measured. ``--saved``
measures nothing, and judges and draws what was saved.

A run is :mod:`benchmarks.beforeafter.measuring`; the clients are ``crowd``, the claims ``claims``.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import options, record
from benchmarks.beforeafter import claims, figures, tables
from benchmarks.beforeafter.scenario import Scenario, ScenarioError, read
from benchmarks.record import Result, machine
from benchmarks.server import REST_SECONDS, ROOT
from tonnage.units import format_bytes

SUMMARY = "the reference backends as they were and on Tonnage: the same load in 512 MB"
APPS = "fitflix,lvlup,fibuca,eventide"
IMAGES = ROOT / "docs" / "images"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this benchmark."""
    options.add_limit(parser)
    parser.add_argument("--apps", default=APPS, metavar="A,B", help="of examples/, or load.toml's")
    parser.add_argument("--runs", type=int, default=3, help="of each way")
    parser.add_argument("--seconds", type=float, help="length of a load, instead of the scenario's")
    parser.add_argument("--wide", type=options.size, default="8G", help="more than anybody needs")
    parser.add_argument("--images", type=Path, default=IMAGES, metavar="DIR", help="for pictures")
    parser.add_argument("--saved", action="store_true", help="measure nothing: judge what is saved")


def run(chosen: argparse.Namespace) -> Result:
    """Measure what was chosen, and judge the claims by all that is saved."""
    try:
        scenarios = [read(_path(text)) for text in chosen.apps.split(",") if not chosen.saved]
    except ScenarioError as error:
        sys.exit(str(error))
    for scenario in scenarios:
        result = replace(measure(scenario, chosen), command=record.typed_command())
        print(f"\n{result.text()}\n", flush=True)
        result.save(chosen.results)
    saved = {
        each.name.removeprefix(f"{tables.NAME}-"): each
        for each in record.load_all(chosen.results)
        if each.name.startswith(f"{tables.NAME}-")
    }
    if not saved:
        sys.exit(f"nothing is saved in {chosen.results}: measure first, without --saved")
    draw(saved, chosen)
    result = tables.of_claims(saved)
    if unexplained := result.details["unexplained"]:
        print(f"{claims.WHY.name} does not say why of: {', '.join(unexplained)}", flush=True)
    return result


def measure(scenario: Scenario, chosen: argparse.Namespace) -> Result:
    """Run each way of one backend as often as was chosen."""
    from benchmarks.beforeafter import measuring

    before, seconds = machine(), chosen.seconds or scenario.load.seconds
    uploads = measuring.uploads_of(scenario)
    sizes = {"limit": format_bytes(chosen.limit), "wide": format_bytes(chosen.wide)}
    ways: dict[str, dict[str, Any]] = {
        way.name: {"title": way.title.format(**sizes), "runs": []} for way in measuring.WAYS
    }
    for number in range(1, chosen.runs + 1):
        for way in measuring.turns(number):
            limit_bytes = chosen.wide if way.is_wide else chosen.limit
            done = measuring.measure(
                scenario, way, uploads, seconds=seconds, limit_bytes=limit_bytes
            )
            ways[way.name]["runs"].append(measuring.details(done))
            print(_line(scenario.app, number, ways[way.name]["title"], done.figures), flush=True)
            time.sleep(REST_SECONDS)
    return tables.of_backend(scenario, ways, seconds, chosen.limit, before)


def draw(saved: dict[str, Result], chosen: argparse.Namespace) -> None:
    """Draw what is *saved*, and have each result name its picture."""
    from benchmarks.beforeafter import pictures

    for app, each in saved.items():
        name = pictures.draw_memory(app, each.details, chosen.images)
        saved[app] = replace(each, pictures=[name])
        saved[app].save(chosen.results)
    pictures.draw_peaks({app: each.details for app, each in saved.items()}, chosen.images)


def _path(text: str) -> Path:
    return Path(text) if text.endswith(".toml") else ROOT / "examples" / text / "load.toml"


def _line(app: str, number: int, title: str, found: figures.Figures) -> str:
    shown = ("peak_bytes", "kernel_kills", "per_second", "p50_seconds", "error_share")
    cells = [f"{figures.TITLES[name]} {figures.cell([found], name)}" for name in shown]
    return " | ".join([f"{app}, run {number}", title, *cells])
