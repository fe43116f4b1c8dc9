"""Migrations as a deploy step: Alembic's ``upgrade heads``, one process at a time.

    tonnage db migrate                       # before the new version is started; or, at start:
    db.migrate("migrations")                 # from the application, with DATABASE_URL

Promises: several processes may do this at once; one migrates, the others wait and find nothing to
do. A migration that fails leaves the database at the one before it, where the database has
transactions for that (PostgreSQL, SQLite; not MySQL). What waits for a table's lock gives up soon,
so that the queries behind it go on.

:func:`migrate` does it in a process of its own: Alembic, with SQLAlchemy and a driver some 60 MB,
is gone afterwards, and no connection stays open in a process that is to fork. It is the command
``tonnage db migrate``, with the caller's environment and import path. What it does in detail:
:mod:`tonnage.db.upgrade`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from tonnage.db.settings import current
from tonnage.db.upgrade.places import find
from tonnage.errors import ConfigError, DatabaseError

if TYPE_CHECKING:
    from pathlib import Path

#: How long to wait for another process that migrates.
WAIT_SECONDS: Final = 120.0
#: How long one statement of a migration may run.
STATEMENT_SECONDS: Final = 600.0
#: Set while migrations run: an ``env.py`` may import the application, which may call us.
IS_MIGRATING: Final = "TONNAGE_IS_MIGRATING"


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that was applied.

    Attributes:
        revision: its name in Alembic.
        summary: the first line of its docstring.
        seconds: how long it took.
    """

    revision: str
    summary: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was done, and what is left to do.

    Attributes:
        database: its URL without the password.
        directory: where the migrations are.
        before: the versions before; none for an empty database, several where branches are.
        after: the versions now.
        applied: what was applied, in this order.
        pending: what is to be applied still; only where nothing was to be done but look.
        seconds: how long it took, with waiting for others.
    """

    database: str
    directory: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    applied: tuple[Applied, ...]
    pending: tuple[str, ...]
    seconds: float


def migrate(
    directory: Path | str | None = None,
    url: str | None = None,
    *,
    wait_seconds: float = WAIT_SECONDS,
    lock_seconds: float | None = None,
    statement_seconds: float = STATEMENT_SECONDS,
) -> Migrated:
    """Bring the database up to date, and return what was done; other processes wait.

    Args:
        directory: of the migrations, or an ``alembic.ini``; by default the first of
            ``alembic.ini``, ``migrations`` and ``alembic`` that there is.
        url: the database, by default DATABASE_URL.
        wait_seconds: how long to wait for another process that migrates.
        lock_seconds: how long a statement may wait for a lock; by default as --lock-timeout says.
        statement_seconds: how long a statement may run, where the database can be told.

    Called while migrations run (by an application that an ``env.py`` imports), it does nothing.

    Raises:
        ConfigError: there are no migrations, no database is named, or Alembic is not installed.
        DatabaseError: a migration has failed, another process took too long, or the database
            cannot be reached.
    """
    if os.environ.get(IS_MIGRATING):
        return Migrated("", str(directory or ""), (), (), (), (), 0.0)
    needed()
    find(directory)  # a mistake is told at once
    settings = current()
    words = ["db", "migrate", "--json", "--wait", f"{wait_seconds}s"]
    words += ["--statement-timeout", f"{statement_seconds}s"]
    words += ["--lock-timeout", f"{lock_seconds or settings.lock_timeout_seconds}s"]
    if directory is not None:
        words += ["--", str(directory)]
    done = subprocess.run(
        [sys.executable, "-m", "tonnage", *words],
        # What the server was told is for us to know: it need not be in the environment.
        env=_environment(settings.database_url if url is None else url),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return migrated_of(json.loads(done.stdout))
    told = done.stderr.strip().rpartition("\n")[2].removeprefix("tonnage: error: ")
    kind = ConfigError if done.returncode == 2 else DatabaseError
    raise kind(told or f"migrating has ended with exit status {done.returncode}")


def migrated_of(found: dict[str, Any]) -> Migrated:
    """Return what *found*, made of one by ``dataclasses.asdict``, means."""
    return Migrated(
        database=found["database"],
        directory=found["directory"],
        before=tuple(found["before"]),
        after=tuple(found["after"]),
        applied=tuple(Applied(**each) for each in found["applied"]),
        pending=tuple(found["pending"]),
        seconds=found["seconds"],
    )


def needed() -> None:
    """Raise ConfigError if what migrations need is not installed."""
    if find_spec("alembic") is None:
        raise ConfigError("Alembic is needed for this: pip install 'tonnage[migrations]'")


def _environment(url: str | None) -> dict[str, str]:
    """Return the child's: with our import path, and the URL where only its owner can read it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each or "." for each in sys.path)}
    if url is not None:
        environment["DATABASE_URL"] = url
    return environment
