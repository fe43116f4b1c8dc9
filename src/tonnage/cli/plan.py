"""The command ``tonnage plan``: what the budget would be, on this machine and for this app.

Promises: nothing is started that outlives the command; TARGET is imported in a child process only.
Does not: decide anything; :mod:`tonnage.budget.plan` does, and ``tonnage run`` makes the same plan
of the same wishes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tonnage.budget.plan import AppSize, make_plan
from tonnage.budget.receipt import render, to_json
from tonnage.budget.wishes import wishes_from
from tonnage.cli.flags import add_flags, settings_from
from tonnage.errors import UsageError
from tonnage.host.cpu import discover_cpus
from tonnage.host.limits import discover_limit

if TYPE_CHECKING:
    import argparse

    from tonnage.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give *parser* the options of this command, and those of a server."""
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument(
        "--observed",
        action="store_true",
        help="instead, show which limit would do by what was observed of TARGET while it ran",
    )
    parser.add_argument(
        "--margin", metavar="SHARE", help="with --observed: so much above the peak (default: 10%%)"
    )
    add_flags(parser)


def carry_out(arguments: argparse.Namespace) -> int:
    """Print the plan, or what was observed, and return exit status 0.

    Raises:
        UsageError: as :func:`show_plan`, or the options make no sense.
    """
    settings = settings_from(arguments)
    for warning in settings.warnings:
        print(f"tonnage: warning: {warning}", file=sys.stderr)
    if arguments.observed:
        from tonnage.commands.sizing import show_observed

        return show_observed(settings, arguments.margin, arguments.json, sys.stdout)
    if arguments.margin is not None:
        raise UsageError("--margin goes with --observed")
    return show_plan(settings, arguments.json, sys.stdout)


def measure_target(settings: Settings) -> AppSize:
    """Import TARGET in a child process and return its size; raises TargetError as `run` would."""
    # Imported here: the server's part is needed only where an app is named.
    from tonnage.server.importcost import measure_app

    return measure_app(settings)


def show_plan(
    settings: Settings,
    as_json: bool,
    out: TextIO,
    *,
    root: Path = Path("/"),
    measure: Callable[[Settings], AppSize] = measure_target,
) -> int:
    """Print the plan for *settings* to *out*, as a receipt or as JSON, and return exit status 0.

    *root* is where /proc and /sys are found.

    Raises:
        UsageError: PlanError if it cannot fit, TargetError if the app cannot be imported.
    """
    limit = discover_limit(settings.memory.limit_bytes, settings.origin("memory"), root)
    app = measure(settings) if settings.app.target else None
    cpus = discover_cpus(root).count
    plan = make_plan(limit.bytes, limit.source, cpus, app, wishes_from(settings, limit.bytes))
    plan = replace(plan, warnings=(*limit.warnings, *plan.warnings))
    if as_json:
        json.dump({"limit": limit.describe(), **to_json(plan)}, out, indent=2)
        out.write("\n")
    else:
        out.write(render(plan, limit.describe(), color=_wants_color(out)))
    return 0


def _wants_color(out: TextIO) -> bool:
    # NO_COLOR, not empty, is how users ask every program for plain text (no-color.org).
    return out.isatty() and not os.environ.get("NO_COLOR")
