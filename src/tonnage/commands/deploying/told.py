"""What deployment files say: the plan, the command, and what the platform has to know.

Promises: `tell` is pure, and makes the plan that `tonnage plan` would make for the same limit with
an application of the usual size. No value of a secret gets in: there are names only.
Does not: measure the application, or know the platform's processors; one is reckoned with.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.budget.connections import connections_per_worker
from tonnage.budget.plan import Plan, make_plan
from tonnage.budget.wishes import wishes_from
from tonnage.commands.deploying.project import STORES, Project
from tonnage.options import OPTIONS
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from tonnage.options import Option
    from tonnage.settings import Settings

#: The memory of the smallest instance that platforms usually give a Python backend.
USUAL_BYTES: Final = 512 * MIB
#: What a platform waits for beyond `--stop-seconds`, so that Tonnage is the one to end requests.
GRACE_SECONDS: Final = 5
#: Newest of the versions that Tonnage is tested with.
PYTHON: Final = "3.13"

_PORT: Final = 8000
_FOLDERS: Final = {"spool_dir": "spool", "report_dir": "reports", "state_dir": "state"}
_CPUS: Final = 1.0
# Where to listen is for the platform to say, and so is the limit where it is kept by a container.
_PLACED: Final = frozenset({"host", "port", "uds", "fd", "reload"})
_LIMITED_BY_THE_KERNEL: Final = frozenset({"docker", "compose", "systemd", "kubernetes"})


@dataclass(frozen=True, slots=True)
class File:
    """A file to write; one that `is_shared` may be the user's own, and is not overwritten then."""

    name: str
    text: str
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What the files for one platform say.

    Attributes:
        platform: Which one, as the command line calls it.
        project: What the directory shows.
        command: The words that start the server; the platform adds none.
        plan: Who gets what of the limit.
        connections: Connections to a database that each worker may have.
        port: Where the server listens, on a platform that leaves the choice.
        health_path: Where 200 is answered at every level.
        stop_seconds: How long the server takes to finish requests, at most.
        migrate: The words that bring the database up to date, or None.
        stores: The stores that are used.
        secrets: The application's own secret variables.
        unplaced: The variables of directories that have to last and that nobody has placed, with a
            name for each below one that does.
        jobs_in_redis: Whether Redis keeps a queue, of which it may throw nothing away.
    """

    platform: str
    project: Project
    command: tuple[str, ...]
    plan: Plan
    connections: int
    port: int
    health_path: str
    stop_seconds: float
    migrate: tuple[str, ...] | None
    stores: frozenset[str]
    secrets: tuple[str, ...]
    unplaced: tuple[tuple[str, str], ...]
    jobs_in_redis: bool

    @property
    def grace_seconds(self) -> int:
        """How long the platform has to wait between SIGTERM and SIGKILL."""
        return math.ceil(self.stop_seconds) + GRACE_SECONDS

    @property
    def memory_mb(self) -> int:
        """The limit in whole MB."""
        return self.plan.limit_bytes // MIB

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the secret variables that the application gets from the platform."""
        return (*(STORES[store] for store in STORES if store in self.stores), *self.secrets)

    def shell(self, words: Collection[str] | None = None) -> str:
        """Return *words*, by default the command, as a shell reads them."""
        return shlex.join(self.command if words is None else words)

    def head(self, *more: str) -> str:
        """Return the comment that a file begins with, one line each and *more*, ``#`` before."""
        plan = self.plan
        each = f"{plan.threads} threads"
        if {"postgres", "mongo"} & self.stores:
            each += f" and {self.connections} connections to the database"
        workers = "1 worker with" if plan.workers == 1 else f"{plan.workers} workers, each with"
        width = max(len(line.name) for line in plan.lines)
        lines = (
            f"Made by tonnage init {self.platform} for {format_bytes(plan.limit_bytes)}:",
            f"{workers} {each}.",
            *(f"  {line.name:<{width}} {_mb(line.bytes):>6} MB" for line in plan.lines),
            "The application's own sizes are assumed;"
            f" tonnage plan {self.command[2]} measures them.",
            *more,
        )
        return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def tell(
    platform: str,
    settings: Settings,
    flags: Mapping[str, object],
    project: Project,
    stores: Collection[str],
    secrets: Collection[str],
) -> Told:
    """Gather what the files for *platform* say.

    Args:
        platform: One of those the command line knows.
        settings: What the command line and pyproject.toml say; the application is named.
        flags: What of it the command line says: that goes into the command, since the files of the
            project are deployed with their own settings.
        project: What the directory shows.
        stores: Stores that are used beside those the project shows.
        secrets: The names of the application's own secret variables.

    Raises:
        PlanError: what is wished for does not fit into the limit.
    """
    limit_bytes = settings.memory.limit_bytes or USUAL_BYTES
    source = settings.origin("memory") if settings.memory.limit_bytes else f"{platform}'s usual"
    plan = make_plan(limit_bytes, source, _CPUS, None, wishes_from(settings, limit_bytes))
    used = frozenset(stores) | project.stores
    hidden = _PLACED | ({"memory"} if platform in _LIMITED_BY_THE_KERNEL else set())
    words = _words(flags, hidden)
    if settings.process.workers is None and settings.process.clustering is None:
        # A platform with more processors, or with a WEB_CONCURRENCY of its own making, would get
        # more workers than the files say.
        words += ("--workers", str(plan.workers))
    path = () if not project.migrations else (project.migrations,)
    return Told(
        platform=platform,
        project=project,
        command=("tonnage", "run", settings.app.target or "", *words),
        plan=plan,
        connections=_connections(settings, plan, used),
        port=_PORT if settings.sources["port"] == "default" else settings.listen.port,
        health_path=settings.admission.health_path,
        stop_seconds=settings.process.stop_seconds,
        migrate=None if project.migrations is None else ("tonnage", "db", "migrate", *path),
        stores=used,
        secrets=tuple(dict.fromkeys(secrets)),
        unplaced=tuple(
            (option.env[0], _FOLDERS[option.name])
            for option in OPTIONS
            if option.name in _FOLDERS and settings.sources[option.name] == "default"
        ),
        jobs_in_redis=settings.jobs.jobs is not None,
    )


def _connections(settings: Settings, plan: Plan, stores: Collection[str]) -> int:
    asked = settings.databases
    if asked.mongo_pool_size is not None and "postgres" not in stores:
        return asked.mongo_pool_size
    return connections_per_worker(plan.limit_bytes, plan.workers, asked.database_connections)


def _words(flags: Mapping[str, object], hidden: Collection[str]) -> tuple[str, ...]:
    words: list[str] = []
    for option in OPTIONS:
        value = flags.get(option.name)
        if value is None or option.is_target or option.is_secret or option.name in hidden:
            continue
        words += _flag(option, value)
    return tuple(words)


def _flag(option: Option, value: object) -> list[str]:
    if option.is_switch:
        return [option.flag if value else option.flag.replace("--", "--no-", 1)]
    values = value if isinstance(value, list) else [value]
    return [word for each in values for word in (option.flag, str(each))]


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / MIB:,.1f}".removesuffix(".0")
