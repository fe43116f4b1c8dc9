"""redis-py's connections, set up as all of ours are; and its client, set up so, for applications.

    redis = tonnage.redis_client()              # REDIS_URL; a redis.asyncio.Redis
    await redis.set("greeting", "hello", ex=60)

The library is imported when it is used (7.8 MB). Errors name the server, never its password.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from tonnage.breaker import backoff_seconds
from tonnage.errors import ConfigError
from tonnage.stores.settings import current

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection

CONNECT_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 30
#: How long the stores' thread waits for memory, without taking any, where nobody else would try
#: again: a request's thread that has taken the last of it fails meanwhile, and gives it back.
NO_MEMORY_SECONDS: Final = 0.01
#: Connections of a client that an application has asked for.
MOST_CONNECTIONS: Final = 10
CLIENT_RETRIES: Final = 3
#: What such a client waits for an answer, and for a free connection.
CLIENT_SECONDS: Final = 5.0
# Options that a URL may have for redis-py's pools; connections do not know them.
_OF_POOLS: Final = ("max_connections", "timeout")


def configured_url() -> str | None:
    """Return where Redis is, if it is to be used."""
    settings = current()
    return settings.redis_url if settings.use_redis else None


def required_url() -> str:
    """Return where Redis is.

    Raises:
        ConfigError: nobody has said so, or it is not to be used.
    """
    url = configured_url()
    if url is None:
        raise ConfigError("Redis is needed here: set REDIS_URL, and do not set USE_REDIS=false")
    return url


def connection(url: str) -> AbstractConnection:
    """Return a connection to *url*, not yet made; it waits for answers without end.

    Raises:
        ConfigError: redis-py is missing, or *url* makes no sense.
    """
    _import_redis()
    try:
        return _connection(url)
    except Exception:  # noqa: BLE001  (of redis-py, which takes each option in its own way)
        raise ConfigError(_complaint(url)) from None


def _connection(url: str) -> AbstractConnection:
    kind, options = _parsed(url)
    for name in _OF_POOLS:
        options.pop(name, None)
    # RESP2: a subscriber reads what was published as it reads answers.
    return kind(**{**options, "socket_timeout": None, "protocol": 2})


def redis_client(url: str | None = None, **options: Any) -> Redis:
    """Return redis-py's client for the running event loop, with bounds; close it with ``aclose()``.

    It connects when it is used, within 10 s, keeps connections alive, has 10 at most, waits 5 s for
    an answer, and repeats what failed to reach the server three times.

    Args:
        url: where Redis is; by default what REDIS_URL says.
        options: of redis-py's connection pool; they replace these defaults.

    Raises:
        ConfigError: redis-py is missing, or there is no URL, or it makes no sense.
    """
    _import_redis()
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import AbstractBackoff

    class Backoff(AbstractBackoff):
        """As the link's own."""

        def compute(self, failures: int) -> float:
            return backoff_seconds(failures)

    wanted = required_url() if url is None else url
    check(wanted)
    kind, from_url = _parsed(wanted)
    defaults = {
        "max_connections": MOST_CONNECTIONS,
        "timeout": CLIENT_SECONDS,
        "socket_timeout": CLIENT_SECONDS,
        "health_check_interval": KEEP_ALIVE_SECONDS,
        "retry": Retry(Backoff(), CLIENT_RETRIES),
    }
    return Redis.from_pool(
        BlockingConnectionPool(connection_class=kind, **{**defaults, **from_url, **options})
    )


def check(url: str) -> None:
    """Import redis-py and look at *url*; before workers are forked, they share what that takes.

    Raises:
        ConfigError: redis-py is missing, or *url* makes no sense.
    """
    connection(url)


def _import_redis() -> None:
    try:
        import redis.asyncio  # noqa: F401
    except ImportError:
        raise ConfigError("Redis needs its client: pip install 'tonnage[redis]'") from None


def _parsed(url: str) -> tuple[type[AbstractConnection], dict[str, Any]]:
    from redis.asyncio.connection import Connection, UnixDomainSocketConnection, parse_url

    options: dict[str, Any] = dict(parse_url(url))
    kind: type[AbstractConnection] = options.pop("connection_class", Connection)
    options["socket_connect_timeout"] = CONNECT_SECONDS
    if kind is not UnixDomainSocketConnection:
        options["socket_keepalive"] = True
        # Elsewhere than on Linux the system's own figure applies.
        if hasattr(socket, "TCP_KEEPIDLE"):
            options["socket_keepalive_options"] = {socket.TCP_KEEPIDLE: KEEP_ALIVE_SECONDS}
    return kind, options


def _complaint(url: str) -> str:
    """Return what is to be changed in a *url* that cannot be used."""
    # Never what redis-py says of it: that may hold the password. Nor an example with a password
    # before the host, which would be taken for one and hidden in the log.
    try:
        parts = urlsplit(url)
        refused = [
            name
            for name, value in parse_qsl(parts.query)
            if not _can_be_used(f"{parts.scheme}://?{urlencode({name: value})}")
        ]
        if _can_be_used(parts._replace(query="").geturl()):
            return (
                f"REDIS_URL makes no sense in its options: {', '.join(refused)} cannot be used so;"
                " leave it out, or write it as redis-py has it"
            )
    except ValueError:
        pass
    return (
        "REDIS_URL makes no sense: write redis://host:6379/0, rediss:// for TLS, or unix:///path;"
        " user and password go before the host, as user:password@host"
    )


def _can_be_used(url: str) -> bool:
    try:
        _connection(url)
    except Exception:  # noqa: BLE001  (as above)
        return False
    return True
