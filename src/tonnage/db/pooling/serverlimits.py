"""How many connections a database server allows, and what that means for a pool.

    row = connection.execute(text(statement("postgresql"))).one()
    limit, warnings = allowed(read(row), wanted=5, workers=4, others=Others(settled=(3,)))

Promises: a pool is made no larger than all pools of all workers at its server together may be; what
comes from it is 1 at least, with a warning where even that is too many. Each warning says what to
set. Decides without asking: the statements are for whoever has a connection. Others may open
connections later: what is free now is told, and not divided.

SQLite has no server; what a MongoDB server allows is not asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tonnage.db.urls import DatabaseUrl

# A role without rights sees that there are other sessions, and not of which kind they are. Before
# PostgreSQL 16 there was no second reserve, nor a role for it.
POSTGRESQL: Final = """
SELECT current_setting('max_connections')::int,
       CASE WHEN rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int END,
       CASE WHEN rolsuper
                 OR pg_has_role(pg_roles.oid, to_regrole('pg_use_reserved_connections'), 'USAGE')
            THEN 0 ELSE coalesce(current_setting('reserved_connections', true)::int, 0) END,
       CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END,
       CASE WHEN rolsuper THEN -1 ELSE datconnlimit END,
       (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL
         AND coalesce(backend_type, 'client backend') = 'client backend')
  FROM pg_roles, pg_database
 WHERE rolname = session_user AND datname = current_database()
"""
# Without the right PROCESS the list has one's own connections alone.
_MYSQL: Final = """
SELECT @@GLOBAL.max_connections, 0, 0,
       CASE @@SESSION.max_user_connections WHEN 0 THEN -1 ELSE @@SESSION.max_user_connections END,
       -1, (SELECT count(*) FROM information_schema.processlist)
"""
_STATEMENTS: Final = {"postgresql": POSTGRESQL, "mysql": _MYSQL}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What a server allows, and what it has.

    Attributes:
        max_connections: of all clients.
        reserved: of those, how many others are kept for than this user.
        role_limit: how many the user may have; None without a limit.
        database_limit: how many the database may have; None without a limit.
        in_use: how many there are now, of all clients, with the one that asks.
    """

    max_connections: int
    reserved: int = 0
    role_limit: int | None = None
    database_limit: int | None = None
    in_use: int = 0

    @property
    def usable(self) -> int:
        """How many this user may have at most."""
        limits = (self.max_connections - self.reserved, self.role_limit, self.database_limit)
        return max(0, min(each for each in limits if each is not None))

    @property
    def is_personal(self) -> bool:
        """Whether it is a limit of the user or of the database that counts, not of the server."""
        return self.usable < self.max_connections - self.reserved


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is: which server, and which database and user there."""

    server: str
    database: str


@dataclass(frozen=True, slots=True)
class Others:
    """The other pools of the process at the same server."""

    #: What those have that have asked already, and what the others want.
    settled: tuple[int, ...] = ()
    wanted: tuple[int, ...] = ()


def place_of(url: DatabaseUrl) -> Place | None:
    """Return where *url* leads; None where there is no server that can be asked."""
    if statement(url.dialect) is None:
        return None
    parts = urlsplit(url.address)
    named = dict(parse_qsl(parts.query))
    user, _, host = parts.netloc.rpartition("@")
    server = " ".join([url.dialect, host, named.get("host", ""), named.get("port", "")])
    user = user.partition(":")[0] or named.get("user", "")
    return Place(server.lower(), f"{user} {parts.path or named.get('dbname', '')}")


def statement(dialect: str) -> str | None:
    """Return what asks a server; None where there is nothing to ask."""
    return _STATEMENTS.get(dialect)


def read(row: Sequence[Any]) -> ServerLimits:
    """Return what the row means that :func:`statement` gives."""
    most, superusers, others, role, database, in_use = (int(each) for each in row)
    return ServerLimits(
        max_connections=most,
        reserved=superusers + others,
        role_limit=role if role >= 0 else None,
        database_limit=database if database >= 0 else None,
        in_use=in_use,
    )


def allowed(
    found: ServerLimits, wanted: int, workers: int = 1, others: Others | None = None
) -> tuple[int, list[str]]:
    """Return how many connections a worker's pool may have, and what to warn of.

    Args:
        found: what the server says.
        wanted: how many each worker would have in this pool.
        workers: how many there are.
        others: the other pools of each worker at this server.
    """
    others = others or Others()
    left = found.usable // max(1, workers) - sum(others.settled)
    limit = _fair(max(0, left), wanted, others.wanted)
    pools = 1 + len(others.settled) + len(others.wanted)
    least = limit + sum(others.settled) + len(others.wanted)
    warnings = []
    if least * workers > found.usable:
        who = f"{workers} workers" if pools == 1 else f"{pools} pools in each of {workers} workers"
        fewer = "workers" if pools == 1 else "pools or workers"
        warnings.append(
            f"too many connections: the database allows {_sum(found)}, and {who} need one each at"
            f" least; have fewer {fewer}, or let the server allow more"
        )
    elif limit < wanted:
        all_wanted = wanted + sum(others.settled) + sum(others.wanted)
        what = f"{all_wanted} in {pools} pools" if pools > 1 else f"{wanted}"
        each = f"{workers} workers with {what} each" if workers > 1 else what
        warnings.append(
            f"too many connections: the database allows {_sum(found)}, {each} would be more: it is"
            f" {limit} now; write connection_limit={limit} in DATABASE_URL, or let the server allow"
            " more"
        )
    free = max(0, found.usable - found.in_use)
    # One of those in use is whoever has asked.
    if free + 1 < limit:
        warnings.append(
            f"too many connections: {found.in_use} of the {found.usable} that the database allows"
            f" are in use, so that {limit} cannot be opened now; write"
            f" connection_limit={free + 1} in DATABASE_URL, or close what others have open"
        )
    return limit, warnings


def _fair(left: int, wanted: int, others: Sequence[int]) -> int:
    """Return the part of one who wants *wanted*: an even one, and of what others do not want."""
    for done, other in enumerate(sorted(others)):
        left -= min(other, left // (len(others) + 1 - done))
    return max(1, min(wanted, left))


def _sum(found: ServerLimits) -> str:
    """Return how many are allowed, and by what."""
    if found.usable == found.role_limit:
        return f"{found.usable} (CONNECTION LIMIT of the user)"
    if found.usable == found.database_limit:
        return f"{found.usable} (CONNECTION LIMIT of the database)"
    reserved = f", {found.reserved} of them reserved" if found.reserved else ""
    return f"{found.usable} (max_connections {found.max_connections}{reserved})"
