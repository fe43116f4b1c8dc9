"""What touches the machine: /proc, cgroups, rlimits, malloc, forks, messages between processes.

Neighbours in this room: ``cgroups`` finds the directories, ``limits`` and ``cpu`` say what they
allow, ``usage`` samples what is used against a limit (with ``counters``, files kept open),
``processes`` reads single processes. No reader here decides anything; that is
``tonnage.governor``'s part.

Every reader takes ``root``, the directory in which ``proc`` and ``sys`` are found, so that a
directory of plain files can stand for a machine. Importing this room costs standard library only.
"""
