"""How an application asks its databases: how many connections, how much at once, for how long."""

from __future__ import annotations

from tonnage.options.kinds import POSITIVE_DURATION, SIZE, TEXT, choice, whole
from tonnage.options.option import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "database_url",
        "databases",
        TEXT,
        None,
        "the database, as in postgresql://user@host/name?connection_limit=10 or sqlite:///app.db",
        conventional=("DATABASE_URL",),
        default_note="what the application names itself",
        is_secret=True,
    ),
    Option(
        "database_connections",
        "databases",
        whole(1, 10_000),
        None,
        "connections that all workers together may have, where a URL says nothing",
        default_note="5 for each worker, at most 4 % of the limit at 1 MB each",
    ),
    Option(
        "mongo_url",
        "databases",
        TEXT,
        None,
        "MongoDB, as in mongodb://host/name",
        conventional=("MONGO_URL", "MONGODB_URI"),
        default_note="what the application names itself",
        is_secret=True,
    ),
    Option(
        "mongo_pool_size",
        "databases",
        whole(1, 10_000),
        None,
        "connections to MongoDB that each worker may have",
        conventional=("MONGO_POOL_SIZE",),
        default_note="as for other databases",
    ),
    Option(
        "max_query_rows",
        "databases",
        whole(1, 1_000_000_000),
        "10000",
        "rows that one query may load at once; more are to be streamed, or read in pages",
    ),
    Option(
        "max_query_bytes",
        "databases",
        SIZE,
        "32M",
        "how large the rows may be that one query loads",
    ),
    Option(
        "query_guard",
        "databases",
        choice("stop", "warn", "off"),
        "stop",
        "what happens to a query that would load more",
    ),
    Option(
        "slow_query",
        "databases",
        POSITIVE_DURATION,
        "500ms",
        "a query that takes longer is logged",
        field="slow_query_seconds",
    ),
    Option(
        "statement_timeout",
        "databases",
        POSITIVE_DURATION,
        "30s",
        "how long a statement may run, where the database can be told",
        field="statement_timeout_seconds",
    ),
    Option(
        "lock_timeout",
        "databases",
        POSITIVE_DURATION,
        "10s",
        "how long a statement may wait for a lock, where the database can be told",
        field="lock_timeout_seconds",
    ),
    Option(
        "connection_idle",
        "databases",
        POSITIVE_DURATION,
        "5m",
        "how long a connection that nobody uses is kept",
        field="connection_idle_seconds",
    ),
    Option(
        "connection_lifetime",
        "databases",
        POSITIVE_DURATION,
        "30m",
        "how long a connection is used before a new one takes its place",
        field="connection_lifetime_seconds",
    ),
)
