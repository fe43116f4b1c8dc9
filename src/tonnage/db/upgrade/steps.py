"""What is done with Alembic: look where a database is, and bring it to the newest version.

    steps = Steps(place, url, timeouts)
    steps.look()                      # the versions it has, and those that are pending
    steps.upgrade(told)               # under a lock: that is the caller's

Promises: with a directory of migrations alone, each is a transaction of its own where the database
has them for tables, in SQLite too; with an ``env.py`` it is as that says. What has failed is told
in one line, with the line of the migration.

For the command's own process: an ``env.py`` may set up logging and run an event loop.
"""

from __future__ import annotations

import os
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine

from tonnage.db.migrations import IS_MIGRATING, Applied
from tonnage.db.sessions import sqlite_path
from tonnage.db.upgrade.engines import arguments_for, limit, run_on
from tonnage.errors import ConfigError, DatabaseError, TonnageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from tonnage.db.upgrade.engines import Timeouts
    from tonnage.db.upgrade.places import Place
    from tonnage.db.urls import DatabaseUrl

Versions = tuple[str, ...]


class Steps:
    """The way of one database through the migrations of one place.

    Raises:
        ConfigError: the migrations cannot be found, or no driver is installed.
    """

    def __init__(self, place: Place, url: DatabaseUrl, timeouts: Timeouts) -> None:
        self._url = url
        self._timeouts = timeouts
        self._config = _configuration(place)
        try:
            self._script = ScriptDirectory.from_config(self._config)
            if place.environment == "":
                text = Path(self._script.env_py_location).read_text(encoding="utf-8")
                place = replace(place, environment=text)
        except (CommandError, OSError) as error:
            raise ConfigError(f"the migrations of {place.shown}: {error}") from error
        self._place = place
        self._arguments = arguments_for(url, place, timeouts)
        driver = self._arguments["url"].drivername
        address = f"{driver}://{url.address.partition('://')[2]}"
        self._config.set_main_option("sqlalchemy.url", _literal(address))
        if place.environment is not None:
            limit(Engine, url.pool.schema, timeouts)

    def look(self) -> tuple[Versions, Versions]:
        """Return the versions that the database has, and those that are pending, oldest first.

        Raises:
            DatabaseError: it cannot be asked, or has a version that the migrations do not know.
        """
        has: Versions = ()

        def look(heads: Versions, context: object) -> Iterator[Any]:
            nonlocal has
            has = tuple(heads)
            return iter(())

        path = sqlite_path(self._url) if self._url.dialect == "sqlite" else None
        try:
            if path is None or path.exists():  # looking at a file that is not there would make it
                self._run(look, dont_mutate=True)
            return has, tuple(step.revision.revision for step in self._steps_from(has))
        except TonnageError:
            raise
        except Exception as error:
            raise DatabaseError(f"{self._url.shown} cannot be looked at: {_told(error)}") from error

    def upgrade(self, told: Callable[[Applied], object]) -> None:
        """Apply what is pending; *told* is called with each migration that was applied.

        Raises:
            DatabaseError: one has failed; it says which, and where the database is now.
        """
        doing: str | None = None

        def steps(heads: Versions, context: object) -> Iterator[Any]:
            nonlocal doing
            for step in self._steps_from(heads):
                doing = step.revision.revision
                begun = time.monotonic()
                yield step
                summary = (step.revision.doc or "").strip().partition("\n")[0]
                told(Applied(doing, summary, round(time.monotonic() - begun, 3)))
                doing = None

        try:
            self._run(steps)
        except TonnageError:
            raise
        # A migration is code of the project's: it may raise anything.
        except Exception as error:
            raise DatabaseError(self._failed(doing, error)) from error

    def _steps_from(self, versions: Versions) -> Any:
        # As the documentation of EnvironmentContext has it; there is no public way.
        return self._script._upgrade_revs("heads", versions)  # type: ignore[arg-type]

    def _run(self, steps: Callable[[Any, Any], Iterator[Any]], **options: Any) -> None:
        environment = EnvironmentContext(self._config, self._script, fn=steps, **options)
        with environment, _flag(IS_MIGRATING):
            if self._place.environment is not None:
                self._script.run_env()
                return

            def run(connection: Connection) -> None:
                environment.configure(
                    connection=connection,
                    transaction_per_migration=True,
                    transactional_ddl=is_whole,
                )
                with environment.begin_transaction():
                    environment.run_migrations()

            # Alembic takes SQLite for a database that cannot; with our engine it can.
            is_whole = True if self._url.dialect == "sqlite" else None
            run_on(self._arguments, self._url.pool.schema, self._timeouts, run)

    def _failed(self, doing: str | None, error: Exception) -> str:
        what = f"migration {doing}" if doing else "migrating"
        try:
            has, _ = self.look()
        except TonnageError:
            where = "where the database is now cannot be asked"
        else:
            where = f"the database is at {', '.join(has) or 'no version'}"
        return f"{what} has failed, {where}: {_told(error)}{self._line_of(error)}"

    def _line_of(self, error: Exception) -> str:
        """Return where in the migrations *error* came from, for the end of a message."""
        scripts = Path(self._script.dir).resolve()
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            path = Path(frame.filename).resolve()
            if path.is_relative_to(scripts) and path.name != "env.py":
                return f" ({path.name}, line {frame.lineno})"
        return ""


@contextmanager
def _flag(name: str) -> Iterator[None]:
    """Have the variable *name* set meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _configuration(place: Place) -> Config:
    config = Config(str(place.ini)) if place.ini else Config()
    if place.scripts is not None:
        config.set_main_option("script_location", _literal(str(place.scripts)))
    # Without it Alembic warns of a default that it is going to change.
    if config.get_main_option("path_separator") is None:
        config.set_main_option("path_separator", "os")
    return config


def _literal(text: str) -> str:
    # The parser of configuration files puts values in for %(names)s.
    return text.replace("%", "%%")


def _told(error: Exception) -> str:
    """Return the text of *error* in one line: the driver's own, if a driver is behind it."""
    cause = getattr(error, "orig", None) or error
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
