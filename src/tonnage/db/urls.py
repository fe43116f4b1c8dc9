"""What the URL of a database says, by Prisma's names and by those of its driver.

    url = read_url("postgres://app:s3cret@db/shop?connection_limit=5&sslmode=require")
    url.pool.connection_limit      # 5
    url.address                    # postgresql://app:s3cret@db/shop?sslmode=require
    url.shown                      # postgresql://app:***@db/shop

Promises: what is said of pools is taken out (:mod:`tonnage.db.parameters`), what the driver knows
is passed on, and anything else is refused by its name. No message, log line or ``repr`` holds a
password, wherever in the URL it stands and whether or not it is encoded as it should be; so errors
repeat no more of a URL than names of parameters, and values of ours that are no numbers.

Connects to nothing and resolves no name, not even of ``mongodb+srv:``. Which driver takes an option
in which form is for :mod:`tonnage.db.drivers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, unquote

from tonnage.db.parameters import OF_FILE_URI, PoolOptions, is_whole, read_parameters
from tonnage.db.settings import current
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Schemes, and the dialects that they mean.
_SCHEMES: Final = {
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "sqlite": "sqlite",
    "mysql": "mysql",
    "mariadb": "mysql",
    "mongodb": "mongodb",
}
#: Drivers that may be named after a scheme, as SQLAlchemy has it. Those of one dialect stand for
#: one another, where an engine is of the other kind (:mod:`tonnage.db.drivers.sqlalchemy`).
DRIVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "postgresql": ("asyncpg", "psycopg"),
    "sqlite": ("pysqlite", "aiosqlite"),
    "mysql": ("pymysql", "aiomysql"),
    "mongodb": ("srv",),
}
_HIDDEN: Final = "***"
_EXAMPLES: Final = "write postgresql://user@host/name, sqlite:///app.db, mysql:// or mongodb://"
_ENCODE: Final = "in a user's name or password, write / as %2F, ? as %3F and @ as %40"


class RenderedUrl(Protocol):
    """A URL that can be written: SQLAlchemy's ``URL`` is one."""

    def render_as_string(self, hide_password: bool = True) -> str:
        """Return it as text."""


#: How applications name a database: as text, or as SQLAlchemy has it.
UrlLike = str | RenderedUrl


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A URL that has been read.

    Attributes:
        dialect: ``postgresql``, ``sqlite``, ``mysql`` or ``mongodb``.
        driver: the one that it names, such as ``asyncpg``; ``srv`` for ``mongodb+srv:``.
        address: the URL without what is ours; with the password.
        shown: where the database is, for logs and errors.
        pool: what it says of connections.
        options: what the driver is told, as it stands in :attr:`address`.
    """

    dialect: str
    driver: str | None
    address: str = field(repr=False)
    shown: str
    pool: PoolOptions
    options: Mapping[str, str] = field(repr=False)

    @property
    def is_in_memory(self) -> bool:
        """Whether it is a SQLite database that ends with its connection."""
        if self.dialect != "sqlite":
            return False
        path = self.address.removeprefix("sqlite://").partition("?")[0]
        return (
            path in ("", "/", "/:memory:", "/file::memory:") or self.options.get("mode") == "memory"
        )

    def __str__(self) -> str:
        return self.shown


def read_url(text: str) -> DatabaseUrl:
    """Return what *text* says.

    Raises:
        ConfigError: it is no URL of a database known here, or says something without sense.
    """
    scheme, found, rest = _with_scheme(text.strip()).partition("://")
    name, _, driver = scheme.lower().partition("+")
    dialect = _SCHEMES.get(name)
    if not found or dialect is None:
        raise ConfigError(f"the URL of a database cannot be read: {_EXAMPLES}")
    wanted = _driver(dialect, driver)
    place, _, query = rest.partition("?")
    pairs = _pairs(query)
    options, pool = read_parameters(dialect, pairs, is_doubtful="@" in query)
    if dialect == "sqlite":
        address, shown = _of_file(place, dict(options))
    else:
        # Where a mark is not encoded as it should be, the socket may be half a password.
        socket = dict(options).get("host", "") if "@" not in query else ""
        scheme = "mongodb+srv" if wanted == "srv" else dialect
        address, shown = _of_server(scheme, place, query, socket)
    tail = "&".join(f"{quote(key, '')}={quote(value, '/,:')}" for key, value in options)
    return DatabaseUrl(
        dialect=dialect,
        driver=wanted,
        address=f"{address}?{tail}" if tail else address,
        shown=shown,
        pool=pool,
        options=MappingProxyType(dict(options)),
    )


def wanted_url(url: UrlLike | None, *, for_mongo: bool = False) -> DatabaseUrl:
    """Return what *url* says, or what the options say where it is None.

    Args:
        url: as the application names it.
        for_mongo: whether it is to be MongoDB; else a database that speaks SQL.

    Raises:
        ConfigError: no URL is given or set, it makes no sense, or it is of the other sort.
    """
    settings = current()
    if url is None:
        url = settings.database_url
        if for_mongo and (settings.mongo_url or not (url or "").startswith("mongodb")):
            url = settings.mongo_url
    name = "MONGO_URL" if for_mongo else "DATABASE_URL"
    if url is None:
        raise ConfigError(f"no database is named: give its URL, or set {name}")
    found = read_url(_as_text(url))
    if (found.dialect == "mongodb") is not for_mongo:
        way = "db.mongo()" if not for_mongo else "db.engine() or db.pool()"
        raise ConfigError(f"{found.shown} is for {way}: give another URL, or set {name}")
    if for_mongo and found.pool.connection_limit is None:
        limited = replace(found.pool, connection_limit=settings.mongo_pool_size)
        return replace(found, pool=limited)
    return found


def driver_url(url: UrlLike | None = None) -> str:
    """Return *url* as drivers take it: without what it says of pools, which only Tonnage reads.

    Args:
        url: of a database that speaks SQL; None: as ``DATABASE_URL`` says.

    Raises:
        ConfigError: no URL is given or set, or it makes no sense.
    """
    return wanted_url(url).address


def _as_text(url: UrlLike) -> str:
    if isinstance(url, str):
        return url
    if not hasattr(url, "render_as_string"):
        # Not repeated, as text is not: there may be a password in it.
        raise ConfigError(f"the URL of a database is text, not {type(url).__name__}: {_EXAMPLES}")
    return url.render_as_string(hide_password=False)


def _with_scheme(text: str) -> str:
    """Return Prisma's ``file:./app.db`` as SQLAlchemy has it."""
    if text.startswith("file:") and not text.startswith("file://"):
        return f"sqlite:///{text.removeprefix('file:')}"
    return text


def _driver(dialect: str, driver: str) -> str | None:
    if not driver:
        return None
    # SQLAlchemy's own name for psycopg's asynchronous side.
    wanted = "psycopg" if driver == "psycopg_async" else driver
    if wanted not in DRIVERS[dialect]:
        known = " or ".join(DRIVERS[dialect])
        raise ConfigError(
            f"the URL of a database names a driver that is not used here: write {dialect}://,"
            f" or name {known}"
        )
    return wanted


def _pairs(query: str) -> list[tuple[str, str]]:
    """Return names and values. As libpq reads them: a plus is a plus."""
    found = []
    for part in query.split("&") if query else ():
        name, is_pair, value = part.partition("=")
        if not is_pair:
            # Not repeated: it may be the second half of a password with a question mark in it.
            raise ConfigError(
                f"after the question mark of a database's URL each parameter has a value; {_ENCODE}"
            )
        found.append((unquote(name), unquote(value)))
    return found


def _of_file(place: str, options: Mapping[str, str]) -> tuple[str, str]:
    if place and not place.startswith("/"):
        raise ConfigError(
            "the URL of a SQLite database has three slashes and a relative path, or four and an"
            " absolute one: sqlite:///app.db, sqlite:////data/app.db"
        )
    is_uri = place.startswith("/file:") and options.get("uri") == "true"
    if not is_uri and (ignored := sorted(options.keys() & OF_FILE_URI)):
        raise ConfigError(
            f"the URL of a SQLite database says {', '.join(ignored)}, which counts only where the"
            " file is named by a URI: sqlite:///file:app.db?mode=ro&uri=true"
        )
    return f"sqlite://{place}", f"sqlite://{place}"


def _of_server(scheme: str, place: str, query: str, socket: str) -> tuple[str, str]:
    """Return the address without parameters, and how it is shown, with a *socket* from these."""
    authority, _, database = place.partition("/")
    credentials, has_user, hosts = authority.rpartition("@")
    if "@" in database or ("@" in query and not has_user and ":" in hosts):
        raise ConfigError(f"the URL of a database cannot be read: {_ENCODE}")
    _check_hosts(scheme, hosts.split(","))
    user, has_password, password = credentials.partition(":")
    # Encoded anew: drivers differ in what they make of a percent sign that encodes nothing.
    whole = shown = f"{scheme}://{quote(unquote(user), '')}"
    if has_password:
        whole, shown = f"{whole}:{quote(unquote(password), '')}", f"{shown}:{_HIDDEN}"
    tail = f"/{database}" if database else ""
    shown_host = hosts or (f"[{socket}]" if socket else "")
    return f"{whole}{has_user}{hosts}{tail}", f"{shown}{has_user}{shown_host}{tail}"


def _check_hosts(scheme: str, hosts: Sequence[str]) -> None:
    if scheme == "mysql" and len(hosts) > 1:
        raise ConfigError("the URL of a MySQL database names one host")
    if scheme.startswith("mongodb") and not all(hosts):
        raise ConfigError("the URL of a MongoDB names at least one host: mongodb://host/name")
    for each in hosts:
        name, is_closed, port = each.rpartition("]")
        if is_closed:
            port = port.removeprefix(":")
        else:
            name, _, port = each.partition(":")
        is_number = not port or (is_whole(port) and 0 < int(port) < 65536)
        if is_closed != ("]" if name.startswith("[") else "") or not is_number:
            # Not repeated: with a slash in a password, that begins where a port is expected.
            raise ConfigError(
                f"the URL of a database has a host or port without sense; {_ENCODE};"
                " an IPv6 address stands in brackets"
            )
