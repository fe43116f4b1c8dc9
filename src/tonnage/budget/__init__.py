"""The budget: a memory limit turned into a plan, with its receipt.

`sizes` has the formulas, `wishes` is what was asked for, `plan` divides, `receipt` prints.
All of it is pure: nothing is opened, nothing measured.
"""

from __future__ import annotations

from tonnage.budget.plan import AppSize, How, Line, Plan, Wishes, make_plan

__all__ = ["AppSize", "How", "Line", "Plan", "Wishes", "make_plan"]
