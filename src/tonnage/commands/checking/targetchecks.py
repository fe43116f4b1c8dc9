"""What the facts of an application mean, before it is deployed. Pure.

Each check is a function from facts to a finding; :data:`CHECKS` has them in the order in which they
are told. A check that nothing is known for is skipped with the reason. What is fine on a laptop but
not in production fails: it is production that is asked about.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tonnage.commands.checking.findings import failed, passed, skipped
from tonnage.commands.checking.pathchecks import NOT_IMPORTED, PATH_CHECKS
from tonnage.ops.admintoken import MAKE_ONE, TOO_SHORT, is_for_others, is_short
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.commands.checking.facts import TargetFacts
    from tonnage.commands.checking.findings import Finding

#: An import that takes more of what a start may take fails on a slower machine.
SLOW_START_SHARE: Final = 0.5


def check_target(facts: TargetFacts) -> list[Finding]:
    """Return what each check finds in *facts*."""
    return [check(facts) for check in CHECKS]


def settings(facts: TargetFacts) -> Finding:
    """Whether all that is set has a meaning."""
    warnings = facts.settings.warnings
    if facts.options_error is not None:
        return failed("settings", facts.options_error, "correct it: the server would not start")
    if warnings:
        return failed("settings", "; ".join(warnings), "correct the name, or take it out")
    sources = facts.settings.sources.items()
    count = sum(source != "default" for name, source in sources if name != "target")
    return passed("settings", f"{count} set, each has a meaning")


def limit(facts: TargetFacts) -> Finding:
    """Whether the memory limit is somebody's decision, and can be had."""
    if facts.limit.warnings:
        return failed("limit", "; ".join(facts.limit.warnings), "set --memory to what there is")
    if facts.limit.kind == "host":
        told = f"none is set; the whole machine counts, {format_bytes(facts.limit.bytes)}"
        return failed("limit", told, "set --memory (MAX_MEMORY_MB) to what is paid for")
    return passed("limit", facts.limit.describe())


def imports(facts: TargetFacts) -> Finding:
    """Whether the application can be imported, soon enough."""
    if facts.options_error is not None:
        return skipped("import", NOT_IMPORTED)
    if facts.app is None:
        return failed("import", facts.no_app, "mend it: no worker would start")
    size, most_seconds = facts.app.size, facts.settings.process.start_seconds
    told = f"{size.seconds:.1f} s, {format_bytes(size.zygote_bytes)}"
    if size.seconds > SLOW_START_SHARE * most_seconds:
        advice = f"import less, or raise --start-seconds, which is {most_seconds:g}"
        return failed("import", told, advice)
    return passed("import", told)


def plan(facts: TargetFacts) -> Finding:
    """Whether the memory suffices for what is asked of it."""
    if facts.plan is None:
        return failed("plan", facts.plan_error, "see tonnage plan")
    if facts.plan.warnings:
        return failed("plan", "; ".join(facts.plan.warnings), "see tonnage plan")
    room = format_bytes(facts.plan.room_bytes)
    return passed("plan", f"fits, with {room} as room for requests")


def workers(facts: TargetFacts) -> Finding:
    """Whether there are no more workers than processors."""
    if facts.plan is None:
        return skipped("workers", "there is no plan")
    count, most = facts.plan.workers, max(1, math.ceil(facts.cpus))
    told = f"{count}, with {facts.cpus:g} processors"
    if count > most:
        return failed(
            "workers", told, f"set --workers {most}: more cost memory and serve no faster"
        )
    return passed("workers", told)


def protections(facts: TargetFacts) -> Finding:
    """Whether what keeps the server inside its limit is on."""
    parts = (
        ("--no-admission", facts.settings.admission.admission),
        ("--no-fuse", facts.settings.memory.fuse),
        ("--no-recycle", facts.settings.recycling.recycle),
    )
    off = [name for name, is_on in parts if not is_on]
    if off:
        return failed("protections", f"turned off by {', '.join(off)}", "leave them on")
    return passed("protections", "admission, fuse and recycling are on")


def fork(facts: TargetFacts) -> Finding:
    """Whether workers can be forked after the import."""
    if facts.app is None:
        return skipped("fork", NOT_IMPORTED)
    advice = "start it in the application's startup, which each worker has for itself"
    if facts.app.why_not_fork is not None:
        return failed("fork", facts.app.why_not_fork, advice)
    return passed("fork", "the import leaves no thread behind")


def sockets(facts: TargetFacts) -> Finding:
    """Whether the import opens connections, which all workers would share."""
    if facts.app is None:
        return skipped("sockets", NOT_IMPORTED)
    if facts.app.sockets:
        told = f"the import opens {', '.join(facts.app.sockets)}, shared by all workers"
        return failed("sockets", told, "open it in the application's startup instead")
    return passed("sockets", "the import opens none")


def debug(facts: TargetFacts) -> Finding:
    """Whether debug modes and reloading are off: they show the code, and cost memory."""
    reload = ["--reload"] if facts.settings.app.reload else []
    if facts.app is None and not reload:
        return skipped("debug", NOT_IMPORTED)
    on = [f"{name}'s debug mode" for name in facts.app.debugging] if facts.app else []
    if on or reload:
        return failed("debug", f"{', '.join(on + reload)} is on", "turn it off in production")
    return passed("debug", "off")


def logs(facts: TargetFacts) -> Finding:
    """Whether it logs as a server in production does."""
    told = facts.settings.logging
    if told.environment == "development" and facts.settings.sources["env"] != "default":
        origin = facts.settings.origin("env")
        return failed("logs", f"{origin} says development", "set TONNAGE_ENV=production")
    if told.log_level == "debug":
        origin = facts.settings.origin("log_level")
        return failed("logs", f"{origin} is debug: much, and secrets", "set LOG_LEVEL=info")
    access = "with" if told.access_log else "without"
    return passed("logs", f"level {told.log_level}, {access} a line for each request")


def token(facts: TargetFacts) -> Finding:
    """Whether operators can prove who they are, where others can ask."""
    listen, found = facts.settings.listen, facts.settings.admission.admin_token
    if is_short(found):
        return failed("token", TOO_SHORT, f"set a random one, as of: {MAKE_ONE}")
    if found is not None:
        return passed("token", "TONNAGE_ADMIN_TOKEN is set")
    if not is_for_others(listen):
        return passed("token", "none, and only this machine can ask")
    told = f"listens on {listen.host} without TONNAGE_ADMIN_TOKEN: you could not see its memory"
    return failed("token", told, f"set it to the output of: {MAKE_ONE}")


def instances(facts: TargetFacts) -> Finding:
    """Whether one instance would have to know what another does."""
    local, count = facts.local_state, facts.instances
    if not local:
        return passed("instances", "nothing is kept in one instance that others need")
    told = f"{', '.join(local)}: known to one instance only"
    if count > 1:
        advice = "run one instance, or have a database server and REDIS_URL"
        return failed("instances", f"{told}, and there are {count}", advice)
    return passed("instances", f"{told}; keep it at one")


def disks(facts: TargetFacts) -> Finding:
    """Whether what is to last lies on a disk."""
    if not facts.places_in_memory:
        return passed("disks", "nothing that is to last lies in memory")
    told = "; ".join(f"{name} at {place} ({kind})" for name, place, kind in facts.places_in_memory)
    advice = "name a directory on a disk: this counts as memory and is lost"
    return failed("disks", told, advice)


def database(facts: TargetFacts) -> Finding:
    """Whether the database allows as many connections as may be opened."""
    found = facts.connections
    if found is None:
        return skipped("database", "DATABASE_URL names no PostgreSQL server")
    if found.allowed is None:
        return skipped("database", f"it cannot be asked from here: {found.unknown}")
    told = f"up to {found.planned} connections, {found.allowed} are allowed"
    if found.planned > found.allowed:
        return failed("database", told, "lower --database-connections or connection_limit")
    return passed("database", told)


def migrations(facts: TargetFacts) -> Finding:
    """Whether the database has the version that the application was written for."""
    found = facts.migrations
    if found.pending is None:
        return skipped("migrations", found.unknown)
    if found.pending:
        told = f"{len(found.pending)} pending: {', '.join(found.pending)}"
        return failed("migrations", told, "run tonnage db migrate as a release step")
    return passed("migrations", "none is pending")


CHECKS: Final[tuple[Callable[[TargetFacts], Finding], ...]] = (
    *(settings, limit, imports, plan, workers, protections, fork, sockets, debug, logs, token),
    *PATH_CHECKS,
    *(instances, disks, database, migrations),
)
