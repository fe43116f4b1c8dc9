"""``tonnage db migrate``: wait for the lock, apply what is pending, and tell what was done.

Promises: exit status 0 when the database has the newest version, 1 when it has not. With
``is_check`` nothing is changed, no lock is taken, and pending migrations are told. With ``as_json``
the JSON is all that stands on standard output: what migrations print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TextIO

from tonnage.db.migrations import Applied, Migrated
from tonnage.db.upgrade.places import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tonnage.db.upgrade.engines import Timeouts
    from tonnage.db.upgrade.places import Place
    from tonnage.db.urls import DatabaseUrl


@dataclass(frozen=True, slots=True)
class MigrateArguments:
    """What a user asks for: where the migrations are, whether to look only, how to tell, limits."""

    directory: Path | str | None
    is_check: bool
    as_json: bool
    wait_seconds: float
    timeouts: Timeouts


def migrate(
    wanted: MigrateArguments,
    url: str | None,
    out: TextIO = sys.stdout,
    progress: TextIO = sys.stderr,
) -> int:
    """Carry out what is *wanted*, print it, and return the exit status.

    Raises:
        ConfigError: there are no migrations, no database is named, or something is not installed.
        DatabaseError: a migration has failed, or the lock could not be had.
    """
    place = find(wanted.directory)
    where = _url(url, place)
    begun = time.monotonic()

    def tell(line: str, stream: TextIO = progress if wanted.as_json else out) -> None:
        print(line, file=stream, flush=True)

    if not wanted.as_json:
        tell(f"{where.shown}, migrations of {place.shown}")
    with _kept_clear(progress) if wanted.as_json else nullcontext():
        if wanted.is_check:
            done = _look(wanted, place, where)
        else:
            done = _upgrade(wanted, place, where, tell)
    done = replace(done, seconds=round(time.monotonic() - begun, 3))
    if wanted.as_json:
        json.dump(asdict(done), out, indent=2)
        out.write("\n")
    else:
        tell(_told(done))
    return 1 if done.pending else 0


@contextmanager
def _kept_clear(progress: TextIO) -> Iterator[None]:
    """Have what is printed go to *progress*, and what programs print to standard error."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(progress):
            yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def _url(given: str | None, place: Place) -> DatabaseUrl:
    """Return the database: as given, else DATABASE_URL, else what the configuration names."""
    from tonnage.db.settings import current
    from tonnage.db.urls import wanted_url

    if given is None and current().database_url is None and place.ini is not None:
        from alembic.config import Config

        given = Config(str(place.ini)).get_main_option("sqlalchemy.url")
        if given and given.startswith("driver://"):  # as Alembic's template has it
            given = None
    return wanted_url(given)


def _look(wanted: MigrateArguments, place: Place, url: DatabaseUrl) -> Migrated:
    from tonnage.db.upgrade.steps import Steps

    has, pending = Steps(place, url, wanted.timeouts).look()
    return Migrated(url.shown, place.shown, has, has, (), pending, 0.0)


def _upgrade(
    wanted: MigrateArguments, place: Place, url: DatabaseUrl, tell: Callable[..., None]
) -> Migrated:
    from tonnage.db.upgrade.locks import locked
    from tonnage.db.upgrade.steps import Steps

    applied: list[Applied] = []

    def told(each: Applied) -> None:
        applied.append(each)
        tell(f"  {each.revision}  {each.seconds:6.2f} s  {each.summary}".rstrip())

    steps = Steps(place, url, wanted.timeouts)
    with locked(
        url, wanted.wait_seconds, lambda: tell("waiting for another process that migrates")
    ):
        before, _ = steps.look()
        steps.upgrade(told)
        after, pending = steps.look()
    return Migrated(url.shown, place.shown, before, after, tuple(applied), pending, 0.0)


def _told(done: Migrated) -> str:
    where = f"the database is at {', '.join(done.after) or 'no version'}"
    if done.pending:
        return f"{_counted(len(done.pending))} pending: {', '.join(done.pending)}; {where}"
    if done.applied:
        return f"{_counted(len(done.applied))} applied in {done.seconds:.2f} s; {where}"
    return f"nothing to do; {where}"


def _counted(count: int) -> str:
    return f"{count} migration{'' if count == 1 else 's'}"
