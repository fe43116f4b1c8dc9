"""What is known of an application before it is deployed. Frozen records, without judgement.

Collected by :mod:`tonnage.commands.checking.imported` (in a child process) and
:mod:`tonnage.commands.checking.target`, judged by :mod:`tonnage.commands.checking.targetchecks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tonnage.budget.plan import AppSize, Plan
    from tonnage.host.limits import Limit
    from tonnage.settings import Settings


@dataclass(frozen=True, slots=True)
class AppFacts:
    """What the imported application reveals.

    Attributes:
        size: what the import has cost, in bytes and seconds.
        why_not_fork: why it cannot be forked after the import; None: it can.
        sockets: what the import has opened, in words.
        debugging: the frameworks whose debug mode is on.
        open_cors: what answers pages of every site and takes their cookies; None: nothing does.
        file_routes: routes that take files, as in ``POST /photos``, as far as they are known.
        has_own_limits: whether it puts Tonnage's middleware in front of itself.
        has_caches: whether it has made a cache.
        has_spool: whether its writers keep records on disk.
    """

    size: AppSize
    why_not_fork: str | None = None
    sockets: tuple[str, ...] = ()
    debugging: tuple[str, ...] = ()
    open_cors: str | None = None
    file_routes: tuple[str, ...] = ()
    has_own_limits: bool = False
    has_caches: bool = False
    has_spool: bool = False


@dataclass(frozen=True, slots=True)
class Connections:
    """What the database allows, and what all workers may open.

    Attributes:
        planned: connections of all workers of all instances, while one worker is replaced.
        allowed: what the server leaves to an ordinary user; None: not known.
        unknown: why that is not known.
    """

    planned: int
    allowed: int | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Migrations:
    """What is to be applied still; ``pending`` is None where that is not known, and why."""

    pending: tuple[str, ...] | None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """All that is known of the application, its settings and this machine.

    Attributes:
        settings: what it would be run with.
        instances: how many servers are to run it.
        limit: the memory limit, and who sets it.
        cpus: processors' worth of time.
        app: what the import has shown; None: it was not, or could not be, imported.
        no_app: why there is none.
        options_error: why ``tonnage run`` would refuse the options; None: it would not.
        plan: None where none can be made, and why.
        plan_error: the sum that does not fit.
        places_in_memory: what is to last, but lies in memory: name, directory and file system.
        local_state: what one instance knows and others do not.
        connections: of the database; None: there is none with a server.
        migrations: of the database.
    """

    settings: Settings
    instances: int
    limit: Limit
    cpus: float
    app: AppFacts | None
    no_app: str
    options_error: str | None
    plan: Plan | None
    plan_error: str
    places_in_memory: tuple[tuple[str, str, str], ...]
    local_state: tuple[str, ...]
    connections: Connections | None
    migrations: Migrations
