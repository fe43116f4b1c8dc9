"""The pages about metrics say what is so: names, rules, and how to scrape."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.ops.metrics.figures import FIGURES, families, server, views
from tests.support.missing import give_up
from tests.support.prometheus import program
from tests.support.server import ROOT

from tonnage.ops.figures.records import RouteFigures
from tonnage.units import MIB
from tonnage.web.routes import Routes

PAGE = "\n".join(
    (ROOT / "docs" / where / "metrics.md").read_text() for where in ("reference", "how-to")
)
#: Names that begin alike are told by their ends.
BEGINNINGS = ("tonnage_memory", "tonnage_worker", "tonnage_route_cost")


@pytest.fixture
def told() -> set[str]:
    """Return the names that a server tells, but for those of stores."""
    page = server()
    Routes(page).find({"method": "GET", "path": "/", "headers": []}).observe(MIB, 0, 0.1)
    counted = replace(FIGURES, routes=(*FIGURES.routes, RouteFigures("GET /", (0, 1, 0, 0, 0))))
    found = families(views(page, lambda: counted)["/metrics"]("").body.decode())
    kinds = tuple(f"tonnage_{store.kind}_" for store in FIGURES.stores)
    names = {
        f"{name}_total" if family.type == "counter" else name for name, family in found.items()
    }
    return {name for name in names if not name.startswith(kinds)}


def test_every_metric_is_on_the_page(told: set[str]) -> None:
    """By its name, or by its end beside others that begin alike."""

    def is_there(name: str) -> bool:
        ends = {name.removeprefix(each) for each in BEGINNINGS if name.startswith(f"{each}_")}
        return any(f"`{each}`" in PAGE for each in {name, *ends})

    assert {name for name in told if not is_there(name)} == set()


def test_every_name_on_the_page_is_one(told: set[str]) -> None:
    """Those of stores are examples."""
    named = set(re.findall(r"`(tonnage_\w+)`", PAGE))
    stores = {
        *("tonnage_cache_hits_total", "tonnage_cache_gone_total"),
        "tonnage_writer_buffered",
    }
    assert named - told == stores


def blocks(begin: str) -> str:
    """Return the YAML of the page that begins so."""
    found: list[str] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(block for block in found if block.startswith(begin))


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        ("groups:", ("check", "rules")),
        ("scrape_configs:", ("check", "config", "--syntax-only")),
    ],
)
def test_prometheus_understands_what_is_shown(
    begin: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    """Rules for alerts, and how to scrape."""
    promtool = program("promtool")
    if promtool is None:
        give_up("promtool", "Debian has it in prometheus")
    shown = tmp_path / "shown.yml"
    shown.write_text(blocks(begin))
    done = subprocess.run(
        [promtool, *words, str(shown)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
