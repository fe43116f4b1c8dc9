"""The picture in the README: memory over time under the overload, with and without Tonnage.

Drawn from ``results/overload.json`` alone: what the kernel charged every 100 ms, and when it
killed. Nothing is smoothed. Needs matplotlib, which nothing else here does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.record import HERE
from tonnage.units import MIB

IMAGES = HERE.parent / "docs" / "images"

SHOWN = {"uvicorn": "uvicorn", "gunicorn2": "gunicorn, 2 workers", "tonnage": "tonnage run"}
"""One panel each, from top to bottom, and how it is called there."""

INK = "#1f2933"
FAINT = "#697586"
GRID = "#e4e7eb"
RED = "#d1383d"
_COLOURS = {"uvicorn": "#7c5cb5", "gunicorn2": "#d97f25", "tonnage": "#0b8a6a"}

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "svg.hashsalt": "tonnage",  # the same figures give the same file
}


def draw(results: Path, images: Path = IMAGES) -> None:
    """Write ``overload.png`` and ``overload.svg`` into *images*.

    Raises:
        SystemExit: if the overload has not been measured with all the servers shown.
    """
    path = results / "overload.json"
    if not path.exists():
        raise SystemExit("first measure: python -m benchmarks overload")
    result = json.loads(path.read_text())
    peers = result["details"]["peers"]
    missing = [name for name in SHOWN if name not in peers]
    if missing:
        raise SystemExit(f"the overload was not measured with {', '.join(missing)}")
    images.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        figure = _figure(peers, result["details"]["limit_bytes"], result["title"])
        figure.savefig(images / "overload.png", dpi=200)
        figure.savefig(images / "overload.svg", metadata={"Date": None})
        plt.close(figure)
    print(f"written: {images.name}/overload.png and .svg")


def _figure(peers: Mapping[str, Any], limit_bytes: int, title: str) -> Figure:
    figure, panels = plt.subplots(
        len(SHOWN), 1, figsize=(8, 6.6), sharex=True, gridspec_kw={"hspace": 0.46}
    )
    figure.subplots_adjust(left=0.08, right=0.972, top=0.815, bottom=0.075)
    figure.text(
        0.022,
        0.948,
        f"The same app, the same load, the same {limit_bytes / MIB:.0f} MB",
        fontsize=15,
        fontweight="bold",
    )
    figure.text(0.022, 0.908, title[0].upper() + title[1:], fontsize=9.5, color=FAINT)
    for axes, name in zip(panels, SHOWN, strict=True):
        _curve(axes, peers[name], _COLOURS[name])
        _headline(axes, SHOWN[name], _outcome(peers[name]), _COLOURS[name])
        _frame(axes, limit_bytes, max(peers[shown]["seconds"] for shown in SHOWN))
    _legend(panels[0], limit_bytes)
    panels[-1].set_xlabel("seconds", fontsize=9)
    return figure


def _curve(axes: Axes, peer: Mapping[str, Any], colour: str) -> None:
    seconds = peer["series"]["seconds"]
    usage = [used / MIB for used in peer["series"]["usage_bytes"]]
    kills = peer["series"]["kernel_kills"]
    during = sum(second <= peer["seconds"] for second in seconds)
    killed = [i for i in range(1, during) if kills[i] > kills[i - 1]]
    # A dead server uses nothing: end its line there, rather than draw zeros as if it were calm.
    last = len(usage) if peer["alive"] else killed[-1] + 1
    axes.plot(seconds[:last], usage[:last], color=colour, linewidth=1.3, solid_joinstyle="round")
    axes.fill_between(seconds[:last], usage[:last], color=colour, alpha=0.13, linewidth=0)
    # Marked at the highest usage: that is where the kernel acted, between two samples.
    axes.scatter(
        [seconds[i] for i in killed],
        [max(usage)] * len(killed),
        marker="x",
        s=26,
        linewidths=1.6,
        color=RED,
        zorder=5,
        clip_on=False,
    )
    if not peer["alive"]:
        axes.annotate(
            "dead: every connection refused from here on",
            (seconds[last - 1], max(usage) / 2),
            (12, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=FAINT,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 3},
        )


def _outcome(peer: Mapping[str, Any]) -> str:
    kills = peer["kernel_kills"]
    health = peer["health"]
    probes = max(1, health["answered"] + health["failed"])
    return " · ".join(
        (
            f"{peer['ok_per_second']:.0f} answers/s",
            f"{kills or 'no'} kernel kill{'' if kills == 1 else 's'}",
            f"health answered {int(100 * health['answered'] / probes)} %",
        )
    )


def _headline(axes: Axes, name: str, outcome: str, colour: str) -> None:
    for text, x, side, shade, weight in (
        (name, 0, "left", colour, "bold"),
        (outcome, 1, "right", INK, "normal"),
    ):
        axes.annotate(
            text,
            (x, 1),
            (0, 7),
            xycoords="axes fraction",
            textcoords="offset points",
            ha=side,
            fontsize=10.5,
            color=shade,
            fontweight=weight,
        )


def _legend(axes: Axes, limit_bytes: int) -> None:
    """Say once, in the first panel, what the red marks mean."""
    axes.annotate(
        f"limit {limit_bytes / MIB:.0f} MB   × killed by the kernel",
        (1, limit_bytes / MIB),
        (0, -12),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=RED,
    )


def _frame(axes: Axes, limit_bytes: int, longest_seconds: float) -> None:
    limit = limit_bytes / MIB
    axes.axhline(limit, color=RED, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_xlim(0, longest_seconds)
    axes.set_ylim(0, limit * 1.1)
    axes.set_yticks([0, limit / 2, limit], ["0", f"{limit / 2:.0f}", f"{limit:.0f} MB"])
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
