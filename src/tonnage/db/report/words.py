"""How a report says numbers: how long ago, how much of it. Pure."""

from __future__ import annotations

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(seconds: float) -> str:
    """Return *seconds* for a person, in one unit: ``3 d ago``, ``12 min ago``."""
    for size, unit in _UNITS:
        if seconds >= 2 * size or unit == "s":
            break
    return f"{max(0, seconds) // size:.0f} {unit} ago"


def share(part: float, whole: float) -> str:
    """Return how much of *whole* is *part*: ``12 %``."""
    return f"{100 * part / whole:.0f} %" if whole else "-"
