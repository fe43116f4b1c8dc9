"""The command line: ``python -m benchmarks [NAME] [options]``; without a name, the list."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import record
from benchmarks.box import BoxError
from benchmarks.server import StartError

NAMES = (
    "overload", "mix", "recovery", "burst", "leak", "cache", "recycle",
    "hello", "path", "memory", "kill", "stop", "stores", "sharedlevel", "writers", "flood",
    "durable", "rows", "pools", "paging", "images", "jobs", "photos", "page", "operations",
    "soak", "beforeafter",
)  # fmt: skip
"""Each is a module here with ``SUMMARY``, ``add_options(parser)`` and ``run(chosen)``."""


def main() -> int:
    """Run what was asked for; return the exit status."""
    # Peers are compiled when they are installed; a checkout would be compiled at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Leave through the context managers, so that no server and no cgroup stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures Tonnage against its peers, in a real memory cgroup.",
    )
    commands = parser.add_subparsers(dest="name", metavar="NAME")
    for name in NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        command = commands.add_parser(
            name,
            help=module.SUMMARY.replace("%", "%%"),
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(command)
        _add_results(command)
    _add_results(commands.add_parser("plot", help="draw the overload: docs/images/overload.png"))
    _add_results(commands.add_parser("report", help="write benchmarks/RESULTS.md from all results"))
    chosen = parser.parse_args()
    if chosen.name is None:
        parser.print_help()
        return 0
    if chosen.name == "plot":
        from benchmarks import plot

        plot.draw(chosen.results)
    elif chosen.name == "report":
        write_report(chosen.results)
    else:
        return measure(chosen)
    return 0


def measure(chosen: argparse.Namespace) -> int:
    """Run one benchmark, print its table and save it; 1 if it says that a promise is broken."""
    module = importlib.import_module(f"benchmarks.{chosen.name}")
    try:
        result: record.Result = module.run(chosen)
    except BoxError as error:
        print(f"{error}: a real memory limit needs root and a writable cgroup", file=sys.stderr)
        return 2
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    result = replace(result, command=result.command or record.typed_command())
    print(f"\n{result.text()}\n\nwritten: {_shown(result.save(chosen.results))}")
    return int(bool(result.details.get("broken_promises")))


def write_report(results: Path) -> None:
    """Write one page with every saved table and the command that made it; others stay in it."""
    report = record.REPORT.read_text() if record.REPORT.exists() else ""
    sections = record.merged(report, record.load_all(results))
    head = "# Benchmarks\n\nMade by `python -m benchmarks report`; see benchmarks/README.md.\n"
    record.REPORT.write_text("\n".join([head, *sections]))
    print(f"written: {_shown(record.REPORT)}")


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=Path, default=record.RESULTS, metavar="DIR", help="where results are kept"
    )


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
