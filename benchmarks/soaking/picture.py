"""The picture of the soak: memory over time, and below it what went wrong when.

Drawn from what is saved, twice a second. Nothing is smoothed: where several looks share a column,
it reaches from the least to the most. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.plot import FAINT, GRID, INK, RED, STYLE
from tonnage.units import MIB

NAME = "soak.svg"

_MOST_COLUMNS = 450
"""About as many as there are pixels to tell apart."""

_GREEN = "#0b8a6a"
_AMBER = "#d97f25"


def draw(details: Mapping[str, Any], title: str, images: Path) -> str:
    """Write the picture of what is saved as *details* into *images*; return its name."""
    images.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        figure, (memory, faults) = plt.subplots(
            2, 1, figsize=(8, 5.2), sharex=True,
            gridspec_kw={"height_ratios": (2, 1.1), "hspace": 0.14},
        )  # fmt: skip
        figure.subplots_adjust(left=0.15, right=0.972, top=0.83, bottom=0.09)
        figure.text(0.022, 0.945, "Four backends, one limit, and what goes wrong",
                    fontsize=14, fontweight="bold")  # fmt: skip
        figure.text(0.022, 0.9, title, fontsize=9, color=FAINT)
        minutes = [second / 60 for second in details["series"]["seconds"]]
        _memory(memory, minutes, details["series"], details["limit_bytes"])
        _faults(faults, details["faults"])
        faults.set_xlabel("minutes", fontsize=9)
        faults.set_xlim(0, minutes[-1])
        for axes in (memory, faults):
            axes.set_axisbelow(True)
            axes.tick_params(length=0, labelsize=9)
            for side in ("top", "right", "left"):
                axes.spines[side].set_visible(False)
        figure.savefig(images / NAME, metadata={"Date": None})
        plt.close(figure)
    return NAME


def _memory(
    axes: Axes, minutes: Sequence[float], series: Mapping[str, Any], limit_bytes: int
) -> None:
    limit = limit_bytes / MIB
    used = [each / MIB for each in series["used_bytes"]]
    width = -(-len(used) // _MOST_COLUMNS)
    # One look is shared by neighbours, so that the band has no gaps.
    columns = [used[at : at + width + 1] for at in range(0, len(used), width)]
    starts, least = minutes[::width], [min(column) for column in columns]
    most = [max(column) for column in columns]
    axes.plot(starts, least, color=_GREEN, linewidth=1.1, solid_joinstyle="round")
    axes.fill_between(starts, least, most, color=_GREEN, alpha=0.5, linewidth=0.6)
    axes.fill_between(starts, least, color=_GREEN, alpha=0.13, linewidth=0)
    # As a band below the axis, so that a second of it can be seen.
    raised = [level != "OK" for level in series["levels"]]
    axes.fill_between(
        minutes, -0.03 * limit, 0, where=raised, color=_AMBER, linewidth=0.8, step="post"
    )
    axes.axhline(limit, color=RED, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_ylim(-0.03 * limit, limit * 1.1)
    axes.set_yticks([0, limit / 2, limit], ["0", f"{limit / 2:.0f}", f"{limit:.0f} MB"])
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    for text, x, colour in (
        ("working set, least to most", 0.0, _GREEN),
        ("level above OK", 0.3, _AMBER),
    ):
        axes.annotate(
            text, (x, 1), (0, 3), xycoords="axes fraction", textcoords="offset points",
            fontsize=9, color=colour,
        )  # fmt: skip


def _faults(axes: Axes, faults: Sequence[Mapping[str, Any]]) -> None:
    kinds = sorted({fault["kind"] for fault in faults}, reverse=True)
    for fault in faults:
        row = kinds.index(fault["kind"])
        start, width = fault["at_seconds"] / 60, fault["seconds"] / 60
        axes.barh(row, width, left=start, height=0.62, color=INK, linewidth=0.8, edgecolor=INK)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.set_ylim(-0.6, len(kinds) - 0.4)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
