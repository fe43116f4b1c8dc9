"""What a benchmark found, and how it is printed, kept and published.

A ``Result`` is one table with the command that made it and the state of the machine before. It is
saved as JSON; ``report`` turns all saved results into one Markdown page.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import re
import sys
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
REPORT = HERE / "RESULTS.md"

_PACKAGES = (
    "tonnage", "uvicorn", "gunicorn", "granian", "uvloop", "httptools", "fastapi", "pandas",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's table.

    Attributes:
        name: of the benchmark and of its file.
        title: one line above the table.
        command: what was typed to make it.
        machine: where and when, and how busy it was before (``machine()``).
        columns, rows: the table, as text.
        notes: what one must know to read it.
        pictures: files in docs/images that show it.
        details: figures for machines: counts, series, what servers printed.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]
    machine: dict[str, Any]
    command: str = ""
    pictures: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def save(self, directory: Path) -> Path:
        """Write the result to ``directory/<name>.json``."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path

    def text(self) -> str:
        """Return the table for a terminal."""
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        lines = [self.title, ""]
        for row in (self.columns, ["-" * width for width in widths], *self.rows):
            padded = [
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, "", *self.notes])

    def markdown(self) -> str:
        """Return the table as a section of the report."""
        rule = ["---", *("---:" for _ in self.columns[1:])]
        table = ["| " + " | ".join(row) + " |" for row in (self.columns, rule, *self.rows)]
        notes = [f"- {note}" for note in self.notes]
        for picture in self.pictures:
            notes += ["", f"![{self.title}](../docs/images/{picture})"]
        about = (
            f"{self.machine['date']}, load average before: {self.machine['load_average']},"
            f" {self.machine['cpus']} CPUs ({self.machine['processor']}),"
            f" Linux {self.machine['kernel']}, Python {self.machine['python']},"
            f" {', '.join(f'{k} {v}' for k, v in self.machine['versions'].items())}."
        )
        head = [f"## {self.name}", "", self.title, "", f"    {self.command}", ""]
        return "\n".join([*head, *table, "", *notes, "", f"*{about}*", ""])


def merged(report: str, results: Iterable[Result]) -> list[str]:
    """Return the sections of a new report: those of *results*, and of the old *report* the others.

    So a report keeps what was measured before, and elsewhere; sections are in the order of names.
    """
    old = re.split(r"^(?=## )", report, flags=re.MULTILINE)[1:]
    sections = {section.split("\n", 1)[0].removeprefix("## "): section for section in old}
    sections |= {result.name: result.markdown() for result in results}
    return [sections[name].rstrip("\n") + "\n" for name in sorted(sections)]


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the code; call it before the load begins."""
    memory = _kilobytes("/proc/meminfo")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "load_average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "cpus": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_mb": memory["MemTotal"] // 1024,
        "available_mb": memory["MemAvailable"] // 1024,
        "swap_mb": memory["SwapTotal"] // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": _versions(),
    }


def typed_command(arguments: Sequence[str] | None = None) -> str:
    """Return the command line as a user would type it, without where results go."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--results" in words:
        at = words.index("--results")
        del words[at : at + 2]
    return " ".join(["python -m benchmarks", *words])


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which *share* (0 to 1) of *values* lie (nearest rank), NaN if none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def milliseconds(seconds: float) -> str:
    """Return *seconds* as a table shows it, a dash where there is no value."""
    return "-" if math.isnan(seconds) else f"{seconds * 1000:.0f} ms"


def summary(seconds: array[float]) -> dict[str, float | None]:
    """Return the quantiles that are kept of a list of latencies, in seconds."""
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {name: quantile(seconds, share) for name, share in shares.items()}
    return {name: None if math.isnan(x) else round(x, 4) for name, x in found.items()}


def load_all(directory: Path = RESULTS) -> list[Result]:
    """Return every saved result, in the order of their names."""
    return [Result(**json.loads(path.read_text())) for path in sorted(directory.glob("*.json"))]


def _kilobytes(path: str) -> dict[str, int]:
    lines = Path(path).read_text().splitlines()
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
