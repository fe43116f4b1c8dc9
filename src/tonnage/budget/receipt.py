"""The receipt: a plan as text for people, or as plain data for machines.

Promises: the lines and the total are in one unit and add up as printed; each says how its figure
was found. Does not: calculate anything; the figures are those of `tonnage.budget.plan`.
"""

from __future__ import annotations

from dataclasses import asdict

from tonnage.budget.plan import Line, Plan
from tonnage.units import MIB

_BOLD = "\x1b[1m"
_DIM = "\x1b[2m"
_YELLOW = "\x1b[33m"
_PLAIN = "\x1b[0m"


def render(plan: Plan, describe_limit: str, color: bool = False) -> str:
    """Return the receipt of *plan*, ending with a newline.

    *describe_limit* says what the limit is and where it was found, as `Limit.describe()` does.
    *color* adds terminal escapes and changes nothing else.
    """
    # Only the room can be a broken number of MB, and then the limit has the same fraction: the
    # column adds up as printed.
    figures = [_in_mb(line.bytes) for line in plan.lines]
    total = _in_mb(plan.limit_bytes)
    name_width = max(len(line.name) for line in plan.lines)
    figure_width = max(len(figure) for figure in (*figures, total))
    rows = [
        _row(line, figure, name_width, figure_width, color)
        for line, figure in zip(plan.lines, figures, strict=True)
    ]
    sum_row = f"  {'limit':<{name_width}}  {total:>{figure_width}} MB"
    rule = "-" * len(sum_row.strip())
    sections = [
        f"Memory limit {describe_limit}",
        "",
        *rows,
        f"  {rule}",
        _paint(sum_row, _BOLD, color),
        "",
        *_consequences(plan),
        *(_paint(f"warning: {warning}", _YELLOW, color) for warning in plan.warnings),
    ]
    return "\n".join(sections) + "\n"


def to_json(plan: Plan) -> dict[str, object]:
    """Return *plan* as plain data: sizes in bytes, the lines in their order."""
    return {
        "limit_bytes": plan.limit_bytes,
        "limit_source": plan.limit_source,
        "cpus": plan.cpus,
        "workers": plan.workers,
        "worker_bytes": plan.worker_bytes,
        "threads": plan.threads,
        "queue_requests": plan.queue_requests,
        "ceiling_bytes": plan.ceiling_bytes,
        "room_bytes": plan.room_bytes,
        "lines": [asdict(line) for line in plan.lines],
        "warnings": list(plan.warnings),
    }


def _row(line: Line, figure: str, name_width: int, figure_width: int, color: bool) -> str:
    amount = f"  {line.name:<{name_width}}  {figure:>{figure_width}} MB"
    return amount + _paint(f"  {line.how:<10}  {line.note}", _DIM, color)


def _consequences(plan: Plan) -> list[str]:
    """What the plan means while the server runs."""
    processors = "1 CPU" if plan.cpus == 1 else f"{plan.cpus:g} CPUs"
    workers = "1 worker" if plan.workers == 1 else f"{plan.workers} workers"
    return [
        f"{workers} on {processors}, {plan.threads} threads each.",
        f"New work waits while more than {_in_mb(plan.ceiling_bytes)} MB are in use or promised;"
        f" {plan.queue_requests} requests may wait.",
    ]


def _in_mb(size_bytes: int) -> str:
    return f"{size_bytes / MIB:,.1f}".removesuffix(".0")


def _paint(text: str, escape: str, color: bool) -> str:
    return f"{escape}{text}{_PLAIN}" if color else text
