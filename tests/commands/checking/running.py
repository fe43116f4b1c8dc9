"""``tonnage check`` as a process of its own, and what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.server import ROOT, clean_environment

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Ended:
    """What the command has printed, and its exit status."""

    status: int
    out: str
    error: str

    def outcomes(self) -> dict[str, str]:
        """Return the outcome of each check."""
        return {each["name"]: each["outcome"] for each in json.loads(self.out)["findings"]}

    def faults(self) -> set[str]:
        """Return the checks that failed."""
        return {name for name, outcome in self.outcomes().items() if outcome == "fail"}

    def finding(self, name: str) -> dict[str, Any]:
        """Return all that is said of one check."""
        found: list[dict[str, Any]] = json.loads(self.out)["findings"]
        return next(each for each in found if each["name"] == name)


def check(
    *words: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT, json: bool = True
) -> Ended:
    """Run ``tonnage check`` with *words* and return what came of it; with one processor."""
    done = subprocess.run(
        [sys.executable, "-m", "tonnage", "check", *words, *(["--json"] if json else [])],
        cwd=cwd,
        env=clean_environment() | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=_take_one_processor,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def check_app(name: str, *words: str, env: Mapping[str, str] | None = None) -> Ended:
    """Check the application *name* of this directory, with its settings."""
    config = HERE / f"{name}.toml"
    return check(f"tests.commands.checking.{name}:app", "--config", str(config), *words, env=env)


def _take_one_processor() -> None:
    # What is found may not depend on how many this machine has.
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
