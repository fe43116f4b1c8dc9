"""Which memory limit would do: what was observed of an application, kept, and judged.

:mod:`tonnage.ops.sizing.observer` observes in the supervisor, :mod:`tonnage.ops.sizing.book` keeps
it in the state directory, :mod:`tonnage.ops.sizing.advice` judges, and
:mod:`tonnage.commands.sizing` is ``tonnage plan --observed``.
"""
