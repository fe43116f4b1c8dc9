"""A live page of a server that is not running, whose figures a test sets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from tests.budget.wishes import NO_WISHES

from tonnage.answer import Answer
from tonnage.budget.plan import Plan, make_plan
from tonnage.governor.page import SharedPage
from tonnage.ops.figures.records import Figures
from tonnage.ops.page.views import Asked, LivePage
from tonnage.server.actions import to_json
from tonnage.units import MIB


@dataclass
class Shelf:
    """What the operator would say."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    leaking: list[dict[str, Any]] = field(default_factory=list)
    reads: int = 0

    def postmortems(self) -> list[dict[str, Any]]:
        """Return the reports."""
        self.reads += 1
        return self.reports

    def postmortem(self, name: str) -> dict[str, Any] | None:
        """Return one of them."""
        return next((each for each in self.reports if each["name"] == name), None)

    def leaks(self) -> dict[str, Any]:
        """Return the leaks."""
        return {"leaks": self.leaking, "text": "", "report": None}


class Watched:
    """The page with all it needs, on a clock of its own."""

    def __init__(self, operator: Asked | None = None) -> None:
        self.page = SharedPage(2)
        header = self.page.header
        header.limit_bytes, header.used_bytes = 256 * MIB, 100 * MIB
        header.warning_bytes, header.critical_bytes = 200 * MIB, 230 * MIB
        header.exhausted_bytes, header.ceiling_bytes = 240 * MIB, 235 * MIB
        header.supervisor_pss_bytes, header.zygote_pss_bytes = 10 * MIB, 20 * MIB
        header.cache_bytes = 30 * MIB
        self.figures = Figures()
        self.shelf = Shelf()
        self.seconds = 1000.0
        self.live = LivePage(
            self.page,
            to_json,
            lambda: self.figures,
            operator=operator or self.shelf,
            plan=plan(),
            name="127.0.0.1:8000",
            clock=lambda: self.seconds,
            wall_clock=lambda: 1_700_000_000 + self.seconds,
        )
        self.views = self.live.views("/tonnage", "/ops/live")

    def get(self, path: str, query: str = "") -> Answer:
        """Return the answer at *path*."""
        return self.views[path](query)

    def state(self) -> dict[str, Any]:
        """Return the state, as it is sent."""
        found: dict[str, Any] = json.loads(self.get("/tonnage/state").body)
        return found


def plan() -> Plan:
    """Return a plan of 256 MB."""
    wishes = replace(NO_WISHES, workers=2, threads=4, exhausted_bytes=240 * MIB)
    return make_plan(256 * MIB, "a test", 2, None, wishes)
