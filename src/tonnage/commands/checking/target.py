"""What is to be known before deploying is collected: settings, import, machine, database.

Changes nothing. The application is imported in a child; the database is asked one question, with
:data:`ASK_SECONDS` for it; migrations are looked at by ``tonnage db migrate --check``, in a process
of its own, with :data:`MIGRATE_SECONDS`. What cannot be found out is a reason to skip, and no
error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.budget.connections import connections_per_worker
from tonnage.budget.plan import make_plan
from tonnage.budget.wishes import wishes_from
from tonnage.commands.checking.facts import Connections, Migrations, TargetFacts
from tonnage.commands.checking.imported import import_app
from tonnage.errors import ConfigError, DatabaseError, PlanError, TonnageError, WorkerError
from tonnage.host.cpu import discover_cpus
from tonnage.host.filesystems import in_memory_as
from tonnage.host.limits import discover_limit
from tonnage.web.path.fromsettings import prepare

if TYPE_CHECKING:
    from tonnage.budget.plan import AppSize, Plan
    from tonnage.commands.checking.facts import AppFacts
    from tonnage.db.urls import DatabaseUrl
    from tonnage.host.limits import Limit
    from tonnage.settings import Settings

ASK_SECONDS: Final = 5.0
MIGRATE_SECONDS: Final = 60.0

# What an ordinary role may open: the reserve is for superusers.
_ALLOWED: Final = """
SELECT current_setting('max_connections')::int
       - current_setting('superuser_reserved_connections')::int AS allowed
"""


def look_at(settings: Settings, instances: int, migrations: Path | None) -> TargetFacts:
    """Return what is known of the application that *settings* name.

    Args:
        settings: what it would be run with.
        instances: how many servers are to run it.
        migrations: where its migrations are; None: in one of the usual places.

    Raises:
        TargetError: the application was not found or is none.
        ConfigError: there are no migrations at the place that is named.
    """
    limit = discover_limit(settings.memory.limit_bytes, settings.origin("memory"))
    cpus = discover_cpus().count
    options_error = _options_error(settings)
    app, no_app = (None, "") if options_error else _imported(settings)
    plan, plan_error = _planned(settings, limit, cpus, None if app is None else app.size)
    url = _database(settings)
    return TargetFacts(
        settings=settings,
        instances=instances,
        limit=limit,
        cpus=cpus,
        app=app,
        no_app=no_app,
        options_error=options_error,
        plan=plan,
        plan_error=plan_error,
        places_in_memory=_places_in_memory(settings, app, url),
        local_state=_local_state(settings, app, url),
        connections=_connections(settings, instances, plan, url),
        migrations=_migrations(settings, migrations),
    )


def _options_error(settings: Settings) -> str | None:
    try:
        prepare(settings)
        _database(settings)
    except ConfigError as error:
        return str(error)
    return None


def _imported(settings: Settings) -> tuple[AppFacts | None, str]:
    try:
        return import_app(settings), ""
    except WorkerError as error:
        return None, str(error)


def _planned(
    settings: Settings, limit: Limit, cpus: float, size: AppSize | None
) -> tuple[Plan | None, str]:
    try:
        wishes = wishes_from(settings, limit.bytes)
        # More workers than processors are for a check of their own, not for a warning here too.
        cpus = max(cpus, settings.process.workers or 0)
        return make_plan(limit.bytes, limit.source, cpus, size, wishes), ""
    except PlanError as error:
        return None, str(error)


def _database(settings: Settings) -> DatabaseUrl | None:
    """Return the database that is named, if one is; raises ConfigError if it makes no sense."""
    if settings.databases.database_url is None:
        return None
    from tonnage.db.urls import read_url

    return read_url(settings.databases.database_url)


def _places_in_memory(
    settings: Settings, app: AppFacts | None, url: DatabaseUrl | None
) -> tuple[tuple[str, str, str], ...]:
    lasting: list[tuple[str, Path | None]] = [("--report-dir", settings.reports.report_dir)]
    if (app is not None and app.has_spool) or settings.sources["spool_dir"] != "default":
        lasting.append(("--spool-dir", settings.stores.spool_dir))
    if url is not None and url.dialect == "sqlite" and not url.is_in_memory:
        file = Path(url.address.partition("?")[0].removeprefix("sqlite:///"))
        lasting.append(("the SQLite database", file.parent))
    return tuple(
        (name, str(directory), kind)
        for name, directory in lasting
        if directory is not None and (kind := in_memory_as(directory))
    )


def _local_state(
    settings: Settings, app: AppFacts | None, url: DatabaseUrl | None
) -> tuple[str, ...]:
    has_redis = settings.stores.redis_url is not None and settings.stores.use_redis
    parts = (
        ("the SQLite database", url is not None and url.dialect == "sqlite"),
        ("caches", app is not None and app.has_caches and not has_redis),
        ("rate limits", settings.path.rate_limit is not None and not has_redis),
        ("spools of writers", app is not None and app.has_spool),
    )
    return tuple(name for name, is_local in parts if is_local)


def _connections(
    settings: Settings, instances: int, plan: Plan | None, url: DatabaseUrl | None
) -> Connections | None:
    if url is None or url.dialect != "postgresql":
        return None
    workers = plan.workers if plan is not None else 1
    limit_bytes = plan.limit_bytes if plan is not None else 0
    each = url.pool.connection_limit or connections_per_worker(
        limit_bytes, workers, settings.databases.database_connections
    )
    # While a worker is replaced, both have theirs.
    planned = instances * (workers + 1) * each
    from tonnage.db.sessions import open_session

    try:
        with open_session(url, statement_seconds=ASK_SECONDS) as session:
            return Connections(planned, int(session.rows(_ALLOWED)[0]["allowed"]))
    except (ConfigError, DatabaseError) as error:
        return Connections(planned, unknown=str(error))


def _migrations(settings: Settings, directory: Path | None) -> Migrations:
    from tonnage.db.upgrade.places import find

    try:
        find(directory)
    except ConfigError as error:
        if directory is not None:
            raise
        return Migrations(None, str(error))
    if find_spec("alembic") is None:
        return Migrations(None, "Alembic is not installed here")
    words = [sys.executable, "-m", "tonnage", "db", "migrate", "--check", "--json"]
    words += [] if directory is None else ["--", str(directory)]
    try:
        return _answered(_run(words, settings))
    except (subprocess.TimeoutExpired, TonnageError) as error:
        return Migrations(None, str(error))


def _run(words: list[str], settings: Settings) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(each or "." for each in sys.path)
    environment = {**settings.env_file_variables, **os.environ, "PYTHONPATH": path}
    if settings.databases.database_url is not None:
        environment["DATABASE_URL"] = settings.databases.database_url
    return subprocess.run(
        words,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=MIGRATE_SECONDS,
        check=False,
    )


def _answered(done: subprocess.CompletedProcess[str]) -> Migrations:
    try:
        return Migrations(tuple(json.loads(done.stdout)["pending"]))
    except (ValueError, KeyError):
        told = done.stderr.strip().rpartition("\n")[2].removeprefix("tonnage: error: ")
        return Migrations(None, told or f"looking at them ended with status {done.returncode}")
