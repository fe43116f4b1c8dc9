"""Isolated jobs, owned by one process: the supervisor, or a small one where there is none.

The way of a job: :mod:`.owner` takes it from a caller, :mod:`tonnage.jobs.line` decides when it
starts, :mod:`.books` have the memory for it, :mod:`.spawning` makes its process, of which
:mod:`.child` is the handle, and :mod:`.ends` tells how it ended. What the function is called with
and returns goes past all of these, over a socket that the caller and the process share.
"""
