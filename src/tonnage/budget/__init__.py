"""The budget: a memory limit turned into a plan, with its receipt.

`sizes` has the formulas, `plan` divides, `receipt` prints, `command` is what `tonnage plan` runs.
All but `command` are pure: they open nothing and measure nothing.
"""

from __future__ import annotations

from tonnage.budget.plan import AppSize, How, Line, Plan, Wishes, make_plan

__all__ = ["AppSize", "How", "Line", "Plan", "Wishes", "make_plan"]
