"""Work in a process of its own: bounded in memory and time, and gone when it is done.

An application's way in is :func:`tonnage.isolated` (:mod:`tonnage.jobs.isolated`).
"""
