"""The budget: a memory limit turned into a plan, with its receipt.

`sizes` has the formulas, `wishes` is what was asked for, `plan` divides, `receipt` prints.
All of it is pure: nothing is opened, nothing measured.
"""
