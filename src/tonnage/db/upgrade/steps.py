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
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine

from tonnage.db.migrations import IS_MIGRATING, Applied
from tonnage.db.sessions import sqlite_path
from tonnage.db.upgrade.engines import arguments_for, complete, limit, run_on
from tonnage.errors import ConfigError, DatabaseError, TonnageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from tonnage.db.upgrade.engines import Timeouts
    from tonnage.db.upgrade.places import Place
    from tonnage.db.urls import DatabaseUrl

Versions = tuple[str, ...]

_HINT: Final = (
    "; if it is an index, a CREATE INDEX CONCURRENTLY that failed may have left it: drop it first"
)


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
            self._script = _read(self._config, place)
            if place.environment == "":
                text = Path(self._script.env_py_location).read_text(encoding="utf-8")
                place = replace(place, environment=text)
        except (CommandError, OSError) as error:
            raise ConfigError(f"the migrations of {place.shown}: {error}") from error
        self._place = place
        self._arguments = arguments_for(url, place, timeouts)
        driver = self._arguments["url"].drivername
        address = f"{driver}://{url.address.partition('://')[2]}"
        if driver.endswith("+asyncpg"):
            # Its parameters are libpq's, which SQLAlchemy would hand on untranslated.
            address = self._arguments["url"].render_as_string(hide_password=False)
            if place.environment is not None:
                complete(self._arguments)
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
            told = f"{_told(error)}{self._line_of(error)}"
            raise DatabaseError(f"to look where {self._url.shown} is has failed: {told}") from error

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
        known = {script.revision for script in self._script.walk_revisions()}
        for version in versions:
            if version not in known:
                raise DatabaseError(
                    f"{self._url.shown} is at {version!r}, which {self._place.shown} does not have:"
                    " newer code has migrated it. To go back to older code, start it without this"
                    " step, or let the newer one downgrade first"
                )
        # As the documentation of EnvironmentContext has it; there is no public way.
        return self._script._upgrade_revs("heads", versions)  # type: ignore[arg-type]

    def _run(
        self, steps: Callable[[Any, Any], Iterator[Any]], *, dont_mutate: bool = False
    ) -> None:
        environment = EnvironmentContext(
            self._config, self._script, fn=steps, dont_mutate=dont_mutate
        )
        with environment, _migrating():
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
            run_on(
                self._arguments,
                self._url.pool.schema,
                self._timeouts,
                run,
                is_looking=dont_mutate,
            )

    def _failed(self, doing: str | None, error: Exception) -> str:
        what = f"migration {doing}" if doing else "migrating"
        try:
            has, _ = self.look()
        except TonnageError:
            where = "where the database is now cannot be asked"
        else:
            where = f"the database is at {', '.join(has) or 'no version'}"
        told = _told(error)
        hint = _HINT if self._url.dialect == "postgresql" and "already exists" in told else ""
        return f"{what} has failed, {where}: {told}{hint}{self._line_of(error)}"

    def _line_of(self, error: Exception) -> str:
        """Return where in the migrations *error* came from, for the end of a message."""
        return _line_in(Path(self._script.dir), error)


def _read(config: Config, place: Place) -> ScriptDirectory:
    """Return the migrations, all of them read: what is wrong with one is told as that."""
    script = ScriptDirectory.from_config(config)
    try:
        # They may import the application, which may call us.
        with _migrating(), warnings.catch_warnings():
            # One that is wanted and not there is an error all the same, of less words.
            warnings.filterwarnings("error", message="Revision .* is not present")
            script.get_heads()
    except Exception as error:  # code of the project's, as it is imported
        told = f"{_told(error)}{_line_in(Path(script.dir), error)}"
        raise ConfigError(f"the migrations of {place.shown} cannot be read: {told}") from error
    return script


def _line_in(directory: Path, error: Exception) -> str:
    scripts = directory.resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename).resolve()
        if path.is_relative_to(scripts):
            return f" ({path.name}, line {frame.lineno})"
    return ""


@contextmanager
def _migrating() -> Iterator[None]:
    """Have it be known meanwhile that migrations run."""
    before = os.environ.get(IS_MIGRATING)
    os.environ[IS_MIGRATING] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[IS_MIGRATING]


def _configuration(place: Place) -> Config:
    config = Config(str(place.ini)) if place.ini else Config()
    toml = place.ini.with_name("pyproject.toml") if place.ini else None
    if toml and toml.is_file() and hasattr(config, "toml_file_name"):
        # Where `alembic init -t pyproject` writes the rest; since Alembic 1.16.
        config = Config(str(place.ini), toml_file=str(toml))
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
