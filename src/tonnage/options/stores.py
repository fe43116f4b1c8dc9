"""What the bounded stores of an application start from: Redis, lifetimes, where they spool."""

from __future__ import annotations

from tonnage.options.kinds import DIRECTORY, POSITIVE_DURATION, SWITCH, TEXT
from tonnage.options.option import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "redis_url",
        "stores",
        TEXT,
        None,
        "Redis or Valkey that caches and rate limits of several instances share",
        conventional=("REDIS_URL",),
        default_note="none: each instance by itself",
        is_secret=True,
    ),
    Option(
        "use_redis",
        "stores",
        SWITCH,
        "true",
        "use it, where one is named",
        conventional=("USE_REDIS",),
    ),
    Option(
        "cache_ttl",
        "stores",
        POSITIVE_DURATION,
        None,
        "how long entries of a cache are good for, where it does not say",
        conventional=("CACHE_TTL",),
        field="cache_ttl_seconds",
        default_note="5m in production, 1m in development",
    ),
    Option(
        "cache_dir",
        "stores",
        DIRECTORY,
        None,
        "directory for what the caches of all workers share, to be found again after a restart",
        default_note="temporary, and removed at the end",
    ),
    Option(
        "spool_dir",
        "stores",
        DIRECTORY,
        None,
        "directory for what writers keep on disk; it has to outlive the process",
        default_note="tonnage-spool in the working directory",
    ),
)
