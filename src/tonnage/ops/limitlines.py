"""The limits on the way of a request, as the start banner tells them: one line for each in force.

Pure; says nothing of memory, which has lines of its own (:mod:`tonnage.ops.banner`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tonnage.errors import ConfigError
from tonnage.stores.redis.room import MOST_WAITING, MOST_WAITING_BYTES
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tonnage.settings import DatabaseSettings, ListenSettings, PathSettings, StoreSettings

_REDIS_PORT: Final = 6379


def limit_lines(
    listen: ListenSettings,
    path: PathSettings,
    stores: StoreSettings,
    databases: DatabaseSettings,
    connections: int,
) -> Iterator[tuple[str, str]]:
    """Yield label and text of each limit that is in force.

    Args:
        listen: about connections of clients.
        path: about requests.
        stores: about Redis.
        databases: about databases.
        connections: to databases, that a worker may have where their URLs say nothing.
    """
    yield from _connections(listen)
    yield from _bodies(path)
    if path.timeout_seconds is not None:
        yield "time", f"{path.timeout_seconds:g} s until a response begins, then 504"
    if path.rate_limit is not None:
        yield "rates", f"{path.rate_limit} for each client, then 429"
    if path.compress:
        yield "compress", f"responses, gzip at level {path.compress_level}; not from CRITICAL on"
    if path.decompress:
        yield "decompress", "bodies of requests"
    if path.cors_origins:
        credentials = ", with cookies" if path.cors_credentials else ""
        yield "CORS", ", ".join(path.cors_origins) + credentials
    if path.remove_headers:
        yield "removed", f"from responses: {', '.join(path.remove_headers)}"
    for name, limits in path.routes.items():
        yield "route", f"{name}: {_differences(limits)}"
    if stores.redis_url is not None and stores.use_redis:
        is_limited = path.rate_limit is not None or any(
            "rate_limit" in limits for limits in path.routes.values()
        )
        yield "Redis", _redis(stores.redis_url, is_limited=is_limited)
    yield from _databases(databases, connections)


def _connections(listen: ListenSettings) -> Iterator[tuple[str, str]]:
    within = f", within {listen.header_seconds:g} s" if listen.header_seconds else ""
    size = format_bytes(listen.max_header_bytes)
    yield "heads", f"{size} and {listen.max_headers} headers{within}"
    if listen.max_connections is not None:
        yield "connections", f"{listen.max_connections} a worker, then idle ones are closed"
    if listen.body_seconds:
        rate = f"{listen.min_body_bytes_per_second} B/s for {listen.body_seconds:g} s"
        yield "slow", f"bodies that come slower than {rate} are cut"


def _bodies(path: PathSettings) -> Iterator[tuple[str, str]]:
    body, upload, response = path.max_body_bytes, path.max_upload_bytes, path.max_response_bytes
    sizes = [format_bytes(body)] if body is not None else []
    if upload is not None:
        sizes.append(f"uploads {format_bytes(upload)}")
    if sizes:
        yield "bodies", f"{', '.join(sizes)}: larger ones get 413"
    if response is not None:
        yield "responses", f"{format_bytes(response)}: larger ones become an error, or are cut"


def _redis(url: str, *, is_limited: bool) -> str:
    """Return where Redis is, what counts there, and what may wait; never the password."""
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname}:{parts.port or _REDIS_PORT}"
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "unix":
        place = parts.path
    elif parts.scheme not in ("redis", "rediss") or not parts.hostname:
        return "not used: REDIS_URL makes no sense"
    shared = "caches with a name, and rates" if is_limited else "caches with a name"
    waiting = f"{MOST_WAITING} commands of {format_bytes(MOST_WAITING_BYTES)}"
    return f"{place}: {shared} · {waiting} may wait in a worker, further ones go without"


def _databases(databases: DatabaseSettings, connections: int) -> Iterator[tuple[str, str]]:
    """Yield where databases are, and what is asked of them at once; never a password."""
    usual = f"at most {connections} connections a worker, in all its pools"
    if databases.database_url is not None:
        yield "database", _database("DATABASE_URL", databases.database_url, usual)
    elif databases.database_connections is not None:
        yield "database", f"{usual} whose URL says nothing"
    if databases.mongo_url is not None:
        size = databases.mongo_pool_size
        usual = usual if size is None else f"at most {size} connections a worker"
        yield "MongoDB", _database("MONGO_URL", databases.mongo_url, usual)
    if databases.query_guard == "off" or (databases.database_url or databases.mongo_url) is None:
        return
    most = f"{databases.max_query_rows} rows or {format_bytes(databases.max_query_bytes)} at once"
    then = "stopped" if databases.query_guard == "stop" else "warned about"
    yield "queries", f"{most}: larger ones are {then}"


def _database(name: str, text: str, usual: str) -> str:
    from tonnage.db.urls import read_url  # Only here: not every server has a database.

    try:
        url = read_url(text)
    except ConfigError as error:
        return f"not used, by {name}: {error}"
    pool = url.pool
    said = usual
    if pool.connection_limit is not None:
        said = f"at most {pool.connection_limit} connections a worker"
    waits = pool.pool_timeout_seconds
    free = "for ever" if waits is None else f"{waits:g} s, then 503"
    return f"{url.shown}: {said} · for a free one requests wait {free}"


def _differences(limits: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in limits.items()) or "as all others"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
