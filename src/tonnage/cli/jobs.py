"""The command ``tonnage jobs``: a worker of the task queue that ``TONNAGE_JOBS`` names.

Its options are those of ``tonnage run`` that concern it, from the same table. What it does is in
:mod:`tonnage.jobs.queue.command`, which is imported when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.cli.flags import add_flags, settings_from
from tonnage.options import OPTIONS

if TYPE_CHECKING:
    import argparse

    from tonnage.options import Option

_OTHERS: Final = frozenset({"target", "app_dir", "env_file", "config", "memory", "stop_seconds"})
_GROUPS: Final = frozenset({"jobs", "logging"})


def concerns(option: Option) -> bool:
    """Return whether *option* has a meaning for a worker of the queue."""
    return option.group in _GROUPS or option.name in _OTHERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tonnage run`` that concern it."""
    add_flags(parser, concerns)


def carry_out(arguments: argparse.Namespace) -> int:
    """Take jobs until it is told to stop; return the exit status.

    Raises:
        ConfigError: TONNAGE_JOBS is not set or makes no sense.
        TargetError: the module is not there.
    """
    from tonnage.jobs.queue.command import work

    flags = vars(arguments)
    # The owner of its jobs, a process of its own, looks into the environment.
    told = {
        option.env[0]: str(flags[option.name])
        for option in OPTIONS
        if concerns(option) and not option.is_target and flags.get(option.name) is not None
    }
    return work(settings_from(arguments), told)
