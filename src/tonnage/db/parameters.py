"""The parameters that a database's URL may have: ours, by Prisma's names, and those of drivers.

Promises: every parameter is read, passed on or refused; none is dropped in silence. Bounded:
values have the bounds stated here. Pure; messages name parameters, and repeat values only of our
own, which are numbers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError
from tonnage.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

POOL_TIMEOUT_SECONDS: Final = 20.0
CONNECT_TIMEOUT_SECONDS: Final = 10.0
#: Statements that a connection keeps prepared. A connection of asyncpg's that had run a hundred
#: different ones was measured with 395 KB by its own bound, which is 100, and with 125 KB by this.
STATEMENT_CACHE_SIZE: Final = 16

_MOST_CONNECTIONS: Final = 10_000
_MOST_STATEMENTS: Final = 10_000
_MOST_SECONDS: Final = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """What a URL says of connections.

    Attributes:
        connection_limit: how many a process may have; None where the URL does not say it.
        pool_timeout_seconds: how long to wait for a free one; None is for ever.
        connect_timeout_seconds: how long opening one may take.
        socket_timeout_seconds: how long an answer may take; infinite is for ever, None where the
            URL does not say it.
        statement_cache_size: statements that a connection keeps prepared.
        schema: the schema that names without one are looked up in; PostgreSQL.
        is_pgbouncer: whether PgBouncer stands between, which gives each transaction another
            connection: nothing may be kept prepared, nor be set for a connection.
        idle_seconds: how long an unused one is kept; infinite is for ever, None as options say.
        lifetime_seconds: how long one is used; infinite is for ever, None as options say.
    """

    connection_limit: int | None = None
    pool_timeout_seconds: float | None = POOL_TIMEOUT_SECONDS
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS
    socket_timeout_seconds: float | None = None
    statement_cache_size: int = STATEMENT_CACHE_SIZE
    # As all that is text in a URL: it may be half a password.
    schema: str | None = field(default=None, repr=False)
    is_pgbouncer: bool = False
    idle_seconds: float | None = None
    lifetime_seconds: float | None = None


class _NoSenseError(ValueError):
    """What is expected of a value, without the value."""


def is_whole(text: str) -> bool:
    """Return whether *text* is a whole number that may make sense; Python refuses longest ones."""
    return text.isascii() and text.isdigit() and len(text) < 10


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not is_whole(text) or not least <= int(text) <= most:
            raise _NoSenseError(f"a whole number from {least} to {most}")
        return int(text)

    return read


def _seconds(
    *, unit_seconds: float = 1.0, zero: float | None = None, may_be_zero: bool = True
) -> Callable[[str], float | None]:
    """Return what reads a duration, in which 0 stands for *zero*."""

    def read(text: str) -> float | None:
        is_number = re.fullmatch(r"\d+(\.\d*)?|\.\d+", text, re.ASCII) is not None
        seconds = float(text) * unit_seconds if is_number else -1.0
        if seconds == 0 and may_be_zero:
            return zero
        if not 0 < seconds <= _MOST_SECONDS:
            unit = "milliseconds" if unit_seconds < 1 else "seconds"
            raise _NoSenseError(f"a number of {unit}" + ("" if may_be_zero else ", more than 0"))
        return seconds

    return read


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise _NoSenseError("true or false")
    return text == "true"


def _name(text: str) -> str:
    if not text:
        raise _NoSenseError("a name")
    return text


Reader = tuple[str, "Callable[[str], Any]"]

#: Prisma's names: the field of :class:`PoolOptions`, and what reads the value.
PRISMA: Final[Mapping[str, Reader]] = {
    "connection_limit": ("connection_limit", _whole(1, _MOST_CONNECTIONS)),
    "pool_timeout": ("pool_timeout_seconds", _seconds()),
    "connect_timeout": ("connect_timeout_seconds", _seconds(may_be_zero=False)),
    "socket_timeout": ("socket_timeout_seconds", _seconds(zero=math.inf)),
    "statement_cache_size": ("statement_cache_size", _whole(0, _MOST_STATEMENTS)),
    "max_connection_lifetime": ("lifetime_seconds", _seconds(zero=math.inf)),
    "max_idle_connection_lifetime": ("idle_seconds", _seconds(zero=math.inf)),
}
_OF_POSTGRESQL: Final[Mapping[str, Reader]] = {
    "schema": ("schema", _name),
    "pgbouncer": ("is_pgbouncer", _yes_or_no),
}
#: MongoDB's names of the same, compared without regard to case.
_OF_MONGODB: Final[Mapping[str, Reader]] = {
    "maxpoolsize": PRISMA["connection_limit"],
    "waitqueuetimeoutms": ("pool_timeout_seconds", _seconds(unit_seconds=0.001)),
    "connecttimeoutms": (
        "connect_timeout_seconds",
        _seconds(unit_seconds=0.001, may_be_zero=False),
    ),
    "sockettimeoutms": ("socket_timeout_seconds", _seconds(unit_seconds=0.001, zero=math.inf)),
    "maxidletimems": ("idle_seconds", _seconds(unit_seconds=0.001, zero=math.inf)),
}
OURS: Final[Mapping[str, Mapping[str, Reader]]] = {
    "postgresql": {**PRISMA, **_OF_POSTGRESQL},
    "sqlite": PRISMA,
    "mysql": PRISMA,
    "mongodb": {**PRISMA, **_OF_MONGODB},
}


def names(text: str) -> frozenset[str]:
    """Return the words of *text*."""
    return frozenset(text.split())


#: What goes on to the driver; of PostgreSQL these are libpq's names.
PASSED_ON: Final[Mapping[str, frozenset[str]]] = {
    "postgresql": names(
        """
        application_name channel_binding client_encoding dbname fallback_application_name
        gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle
        keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version
        oauth_client_id oauth_client_secret oauth_issuer oauth_scope options passfile password port
        require_auth requirepeer scram_client_key scram_server_key service ssl_max_protocol_version
        ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey
        sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs
        tcp_user_timeout user
        """
    ),
    "sqlite": names(
        """
        cache cached_statements check_same_thread detect_types immutable isolation_level mode nolock
        psow timeout uri vfs
        """
    ),
    "mysql": names(
        """
        charset init_command sql_mode ssl_ca ssl_capath ssl_cert ssl_check_hostname ssl_cipher
        ssl_key unix_socket use_unicode
        """
    ),
    "mongodb": names(
        """
        appname authmechanism authmechanismproperties authsource compressors directconnection
        heartbeatfrequencyms journal loadbalanced localthresholdms maxconnecting
        maxstalenessseconds minpoolsize readconcernlevel readpreference readpreferencetags
        replicaset retryreads retrywrites servermonitoringmode serverselectiontimeoutms srvmaxhosts
        srvservicename ssl timeoutms tls tlsallowinvalidcertificates tlsallowinvalidhostnames
        tlscafile tlscertificatekeyfile tlscertificatekeyfilepassword tlscrlfile
        tlsdisableocspendpointcheck tlsinsecure uuidrepresentation w wtimeoutms
        zlibcompressionlevel
        """
    ),
}
#: Those of SQLite's that count only where a file is named by a URI; elsewhere nobody reads them.
OF_FILE_URI: Final = names("cache immutable mode nolock psow vfs")
#: Names of other tools, whose likeness alone would not lead to ours.
_MEANT: Final[Mapping[str, str]] = {
    "max_connections": "connection_limit",
    "pool_size": "connection_limit",
    "pool_recycle": "max_connection_lifetime",
    "prepared_statement_cache_size": "statement_cache_size",
    "search_path": "schema",
    "socket": "unix_socket",
    "ssl": "sslmode=require",
    "sslaccept": "sslmode=require or verify-full",
    "sslidentity": "sslcert and sslkey",
    "statement_timeout": "TONNAGE_STATEMENT_TIMEOUT",
    "lock_timeout": "TONNAGE_LOCK_TIMEOUT",
}


def read_parameters(
    dialect: str, pairs: Iterable[tuple[str, str]], *, is_doubtful: bool = False
) -> tuple[list[tuple[str, str]], PoolOptions]:
    """Return what goes on to the driver, and what is ours.

    Args:
        dialect: as in :class:`~tonnage.db.urls.DatabaseUrl`.
        pairs: names and values, decoded, in the order of the URL.
        is_doubtful: whether a part of them may be of a password that is not encoded as it should
            be; then a message names none.

    Raises:
        ConfigError: one of them is unknown, or its value makes no sense.
    """
    options: list[tuple[str, str]] = []
    ours: dict[str, Any] = {}
    for name, value in pairs:
        key = name.lower() if dialect == "mongodb" else name
        if key in OURS[dialect]:
            field, read = OURS[dialect][key]
            try:
                ours[field] = read(value)
            except _NoSenseError as error:
                raise ConfigError(f"in the URL of a database, {name} is {error}") from None
        elif key in PASSED_ON[dialect]:
            options.append((name, value))
        else:
            raise ConfigError(_complaint(dialect, name, is_doubtful=is_doubtful))
    if ours.get("is_pgbouncer"):
        ours["statement_cache_size"] = 0
    return options, PoolOptions(**ours)


def _complaint(dialect: str, name: str, *, is_doubtful: bool) -> str:
    if is_doubtful or re.fullmatch(r"[A-Za-z_][A-Za-z_0-9]{0,63}", name) is None:
        return (
            "the URL of a database has a parameter that is not known; in a user's name or password,"
            " write / as %2F, ? as %3F and & as %26"
        )
    known = sorted({*OURS[dialect], *PASSED_ON[dialect]})
    meant = _MEANT.get(name) or nearest(name, known)
    hint = f": did you mean {meant}?" if meant else ": leave it out"
    return f"the URL of a database has a parameter that is not known, {name}{hint}"
