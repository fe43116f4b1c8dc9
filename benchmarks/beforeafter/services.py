"""What a backend needs beside it, new for each run: a database with its made data, Redis, MongoDB.

    with services(scenario, place) as given:
        ...                           # given.environment: DATABASE_URL and the like
            given.figures()           # what the database has to say of the run

They run outside the box: what they take is not the backend's. PostgreSQL alone is looked at, since
how many connections and queries it has to serve depends on the backend.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.examples.databases import migrate, sqlite_url
from tests.support.mongo import MongoServer
from tests.support.postgres import PostgresServer, why_not
from tests.support.redis import RedisServer

from benchmarks import stored
from benchmarks.beforeafter.scenario import Scenario
from benchmarks.memory import tree_kilobytes
from benchmarks.server import StartError
from tonnage.host.processes import descendants

# What the tables of an application are asked, and not the catalogue by a library.
_QUERY_TIMES: Final = """
    SELECT sum(total_exec_time) / sum(calls) / 1000, sum(rows)::float / sum(calls)
    FROM pg_stat_statements
    WHERE query ~* '^\\s*select\\M.*\\mfrom\\M' AND query !~* '\\mpg_|information_schema'
"""
_REFUSAL: Final = re.compile(r"FATAL:  (?!terminating|the database system is)")


class Services:
    """The services of one run; *environment* says to a backend where they are."""

    def __init__(self, environment: dict[str, str], postgres: PostgresServer | None) -> None:
        self.environment = environment
        self._postgres = postgres
        self._most_bytes = 0
        self._most_connections = 0
        if postgres is not None:
            # What has been asked so far was not the backend's.
            _ask(postgres.url, "SELECT pg_stat_statements_reset()")

    def keys(self, kind: str, data: Path) -> set[str]:
        """Return the keys of all records of *kind*; the backend has its files below *data*."""
        url = self.environment["MONGO_URL" if kind == "bookings" else "DATABASE_URL"]
        found = stored.keys(kind, url, data)
        # Clients know whose it is, and not by which number.
        if kind == "portraits":
            found = [(name,) for _, name in found]
        elif kind == "bookings":
            found = [(event, email) for event, _, email in found]
        return {" ".join(map(str, key)) for key in found}

    def look(self) -> None:
        """Note what the database takes now; to be called now and then."""
        if self._postgres is None:
            return
        pids = self._pids()
        self._most_bytes = max(self._most_bytes, tree_kilobytes(pids)["Pss"] * 1024)
        self._most_connections = max(self._most_connections, sum(map(_serves, pids)))

    def figures(self) -> dict[str, float]:
        """Return what the database has to say of the run, as far as it can.

        To be called before keys are read, which are queries too.
        """
        if self._postgres is None:
            return {}
        found = {
            "database_bytes": float(self._most_bytes),
            "database_connections": float(self._most_connections),
            "database_refusals": float(len(_REFUSAL.findall(self._postgres.log))),
        }
        seconds, rows = _ask(self._postgres.url, _QUERY_TIMES)
        if seconds is not None:
            found |= {"query_seconds": seconds, "query_rows": rows}
        return found

    def _pids(self) -> list[int]:
        assert self._postgres is not None
        first = (self._postgres.directory / "data" / "postmaster.pid").read_text().split()[0]
        return [int(first), *descendants(int(first))]


@contextmanager
def services(scenario: Scenario, place: Path) -> Iterator[Services]:
    """Start what *scenario* needs; files go below *place*.

    Raises:
        StartError: no PostgreSQL can be started here; the message says why.
    """
    environment: dict[str, str] = {}
    postgres: PostgresServer | None = None
    with ExitStack() as stack:
        if scenario.needs.database == "postgresql":
            if reason := why_not():
                raise StartError(f"no PostgreSQL: {reason}")
            # It counts its queries itself: the extension comes with it.
            postgres = PostgresServer(shared_preload_libraries="pg_stat_statements")
            stack.enter_context(postgres)
            environment["DATABASE_URL"] = postgres.url
        elif scenario.needs.database == "sqlite":
            environment["DATABASE_URL"] = sqlite_url(place)
        if scenario.needs.redis:
            environment["REDIS_URL"] = stack.enter_context(RedisServer()).url
        if scenario.needs.mongo:
            environment["MONGO_URL"] = stack.enter_context(MongoServer()).database()
        if scenario.needs.database:
            migrate(scenario.app, environment | dict(scenario.sides["tonnage"].env))
        if postgres is not None:
            _ask(postgres.url, "CREATE EXTENSION pg_stat_statements")
        yield Services(environment, postgres)


def _serves(pid: int) -> bool:
    """Return whether this process of PostgreSQL has a client: its title says so."""
    try:
        return b" [local] " in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has ended


def _ask(url: str, statement: str) -> Any:
    """Return the first row of the answer to *statement*, None if it has no rows."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else None
