"""Receipts: what `tonnage plan` prints, for people and for machines."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from tests.budget.wishes import NO_WISHES

from tonnage.budget.plan import AppSize, Plan, make_plan
from tonnage.budget.receipt import render, to_json
from tonnage.units import MIB

DESCRIPTION = "512 MB: cgroup v2 memory.max of /app; host has 24 GB"


def a_plan(limit_bytes: int = 512 * MIB) -> Plan:
    """Two workers of a measured app on one CPU."""
    app = AppSize(
        zygote_bytes=40 * MIB,
        private_anon_bytes=24 * MIB,
        worker_own_bytes=None,
        how="measured",
        seconds=0.6,
    )
    exhausted_bytes = limit_bytes * 98 // 100
    wishes = replace(NO_WISHES, workers=2, queue_requests=160, exhausted_bytes=exhausted_bytes)
    return make_plan(limit_bytes, "cgroup v2 memory.max of /app", 1, app, wishes)


RECEIPT = """\
Memory limit 512 MB: cgroup v2 memory.max of /app; host has 24 GB

  reserve for the kernel and health   22 MB  calculated  16 MB kept free, and 5.1 MB of guard
  supervisor                          12 MB  calculated  never imports the app
  zygote                              40 MB  measured    after importing the app, which took 0.6 s
  2 workers                           18 MB  calculated  2 x 9 MB: 6 MB + 12% of the zygote's private 24 MB
  threads                              4 MB  calculated  2 x 16 x 100 KB of stack and arena
  queue                                5 MB  configured  160 waiting requests x 32 KB
  stores                               0 MB  configured  the import makes none
  room for requests                  411 MB  calculated  the rest
  -----------------------------------------
  limit                              512 MB

2 workers on 1 CPU, 16 threads each.
New work waits while more than 490 MB are in use or promised; 160 requests may wait.
warning: 2 workers share 1 CPU: more workers than CPUs cost memory and seldom serve faster
"""  # noqa: E501


def test_the_receipt_reads_like_this() -> None:
    """Aligned lines, a rule, a total that is the limit, what follows from it, and warnings."""
    assert render(a_plan(), DESCRIPTION) == RECEIPT


def test_color_adds_escapes_and_nothing_else() -> None:
    """Without its escapes the coloured receipt is the plain one."""
    colored = render(a_plan(), DESCRIPTION, color=True)

    assert colored != RECEIPT
    assert re.sub(r"\x1b\[\d+m", "", colored) == RECEIPT


def test_the_printed_figures_add_up_for_a_limit_of_no_whole_mb() -> None:
    """500,000,000 bytes are 476.8 MB: the fraction appears in the room and in the limit only."""
    printed = render(a_plan(500_000_000), "476.8 MB: --memory")
    *lines, limit = re.findall(r"(?m)^  \S.*?  +([\d.]+) MB", printed)

    assert len(lines) == 8
    assert limit == "476.8"
    assert round(sum(float(line) for line in lines), 1) == 476.8


def test_a_plan_becomes_plain_data() -> None:
    """Sizes in bytes under plain keys, ready for any JSON writer."""
    plan = replace(a_plan(), warnings=("a warning",))
    data = json.loads(json.dumps(to_json(plan)))

    assert sum(line["bytes"] for line in data["lines"]) == data["limit_bytes"] == 512 * MIB
    assert data["lines"][2] == {
        "key": "zygote",
        "name": "zygote",
        "bytes": 40 * MIB,
        "how": "measured",
        "note": "after importing the app, which took 0.6 s",
    }
    assert {key: value for key, value in data.items() if key != "lines"} == {
        "limit_bytes": 512 * MIB,
        "limit_source": "cgroup v2 memory.max of /app",
        "cpus": 1,
        "workers": 2,
        "worker_bytes": 9 * MIB,
        "threads": 16,
        "queue_requests": 160,
        "ceiling_bytes": 490 * MIB,
        "room_bytes": 411 * MIB,
        "warnings": ["a warning"],
    }
