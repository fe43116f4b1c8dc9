"""The pictures: each backend's memory over time in its three ways, and the peaks of all.

Drawn from what is saved, one run each: that whose peak is the median. Nothing is smoothed; a point
is the highest use in half a second. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.plot import FAINT, GRID, INK, RED, STYLE
from tonnage.units import MIB, format_bytes

_COLOURS: Final = {"naive-wide": "#7c5cb5", "naive": "#d97f25", "tonnage": "#0b8a6a"}

#: How much of a slow start is shown.
_START_SECONDS: Final = 10

#: What is saved of a backend: its title, ``limit_bytes``, and ``ways`` with ``title`` and ``runs``.
Saved = Mapping[str, Any]


def draw_memory(app: str, saved: Saved, images: Path) -> str:
    """Write the picture of one backend into *images*; return its name."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 3.6))
        figure.subplots_adjust(left=0.085, right=0.975, top=0.80, bottom=0.135)
        for name, way in saved["ways"].items():
            _curve(axes, name, way["title"], typical(way["runs"]), saved["limit_bytes"])
        _frame(axes, saved["limit_bytes"])
        axes.set_xlabel("seconds since the load began", fontsize=9)
        axes.set_xlim(left=max(-_START_SECONDS, axes.get_xlim()[0]))
        figure.text(0.022, 0.925, f"{app}: memory in use", fontsize=14, fontweight="bold")
        _legend(axes)
        return _write(figure, images, f"before-after-{app}.svg")


def draw_peaks(all_saved: Mapping[str, Saved], images: Path) -> str:
    """Write the picture of all peaks into *images*; return its name."""
    with plt.rc_context(STYLE):
        height = 1.4 + 0.8 * len(all_saved)
        figure, axes = plt.subplots(figsize=(8, height))
        figure.subplots_adjust(left=0.11, right=0.93, top=1 - 0.75 / height, bottom=0.55 / height)
        figure.text(0.022, 1 - 0.3 / height, "Peak memory", fontsize=14, fontweight="bold")
        for place, saved in enumerate(all_saved.values()):
            for row, (name, way) in enumerate(saved["ways"].items()):
                _bar(axes, place + (row - 1) * 0.26, name, typical(way["runs"]))
                if place == 0:
                    axes.barh(0, 0, color=_COLOURS[name], label=way["title"])
        _legend(axes)
        limit = max(saved["limit_bytes"] for saved in all_saved.values()) / MIB
        axes.axvline(limit, color=RED, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(all_saved)), list(all_saved))
        axes.invert_yaxis()
        axes.set_xlabel("MB; × the kernel killed", fontsize=9)
        _bare(axes, "x")
        return _write(figure, images, "before-after-peaks.svg")


def typical(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return that of *runs* whose peak is in the middle."""
    by_peak = sorted(runs, key=lambda run: float(run["figures"]["peak_bytes"]))
    return by_peak[(len(by_peak) - 1) // 2]


def kills(series: Sequence[Sequence[float]], limit_bytes: int) -> list[tuple[float, float]]:
    """Return when the kernel had killed since the point before, and at how many bytes.

    That is at the limit: a sample is from before or after, and may be far below it.
    """
    return [
        (seconds, max(used_bytes, limit_bytes))
        for (_, _, before), (seconds, used_bytes, count) in pairwise(series)
        if count > before
    ]


def _curve(axes: Axes, name: str, title: str, run: Mapping[str, Any], limit_bytes: int) -> None:
    series = run["series"]
    seconds = [point[0] for point in series]
    used = [point[1] / MIB for point in series]
    axes.plot(seconds, used, color=_COLOURS[name], linewidth=1.3, label=title)
    killed = kills(series, limit_bytes)
    axes.scatter(
        [at for at, _ in killed],
        [used_bytes / MIB for _, used_bytes in killed],
        marker="x",
        s=26,
        linewidths=1.6,
        color=RED,
        zorder=5,
    )


def _bar(axes: Axes, place: float, name: str, run: Mapping[str, Any]) -> None:
    peak = run["figures"]["peak_bytes"] / MIB
    axes.barh(place, peak, height=0.22, color=_COLOURS[name])
    mark = " ×" if run["figures"]["kernel_kills"] else ""
    axes.annotate(
        f"{peak:.0f}{mark}",
        (peak, place),
        (4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=RED if mark else INK,
    )


def _frame(axes: Axes, limit_bytes: int) -> None:
    limit = limit_bytes / MIB
    axes.axhline(limit, color=RED, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.annotate(
        f"limit {format_bytes(limit_bytes)}   × killed by the kernel",
        (1, limit),
        (0, 6),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=RED,
    )
    axes.set_ylim(0, max(limit * 1.15, axes.get_ylim()[1]))
    axes.set_ylabel("MB", fontsize=9)
    _bare(axes, "y")


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=len(_COLOURS),
        frameon=False,
        fontsize=9,
        handlelength=1.4,
    )


def _bare(axes: Axes, along: Literal["x", "y"]) -> None:
    axes.grid(axis=along, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=FAINT)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _write(figure: Figure, images: Path, name: str) -> str:
    images.mkdir(parents=True, exist_ok=True)
    figure.savefig(images / name, metadata={"Date": None})
    plt.close(figure)
    return name
