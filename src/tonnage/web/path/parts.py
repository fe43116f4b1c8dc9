"""What the limits are kept with, made of options: limiters, compression, decompression, CORS.

The same for ASGI and for WSGI. A part that no rule asks for is not made, and not imported either:
each costs every process something.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from tonnage.checks import content_types, names, read, texts, whole
from tonnage.errors import ConfigError
from tonnage.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tonnage.rates.table import Store
    from tonnage.rules import Rules
    from tonnage.web.path.compress import Compression
    from tonnage.web.path.cors import Cors
    from tonnage.web.path.decompress import Decompression
    from tonnage.web.path.ratelimit import RateLimiter
    from tonnage.web.path.redisrates import RedisRates, SharedRateLimiter

    Limiter = RateLimiter | SharedRateLimiter

logger = logging.getLogger("tonnage.requests")


def make_limiters(every: tuple[Rules, ...], store: Store | None) -> dict[str, Limiter]:
    """Return the rate limiter of each rule that has one, by the rule's name.

    Args:
        every: all rules, the default first.
        store: where it is counted; None: in the table of all workers, and in Redis besides where
            that is configured.
    """
    limited = [rules for rules in every if rules.rate_limit]
    if not limited:
        return {}
    from tonnage.rates.clients import Clients
    from tonnage.rates.table import default_table
    from tonnage.web.path.ratelimit import RateLimiter

    shared = None
    if store is None:
        store, shared = default_table(), _redis_rates()
    clients = Clients(store.secret if shared is None else shared.secret)
    default = every[0]
    limiters: dict[str, Limiter] = {}
    for rules in limited:
        # A route that names no limit shares the one of all: it counts there. One that names its own
        # counts apart, even if it says the same: so it is not asked whether they are equal.
        owner = default if rules.rate_limit is default.rate_limit else rules
        limiter = limiters.get(owner.name)
        if limiter is None:
            here = RateLimiter(rules.rate_limit, name=owner.name, store=store, clients=clients)
            limiter = here if shared is None else shared.limiter(here)
        limiters[rules.name] = limiter
    return limiters


def _redis_rates() -> RedisRates | None:
    """Return what counts for all instances; None: nothing does.

    What reads the settings takes 1.5 MB. Where the server has not done that already, it takes a
    variable to have it done.
    """
    variables = ("TONNAGE_REDIS_URL", "REDIS_URL")
    if "tonnage.config" not in sys.modules and not any(name in os.environ for name in variables):
        return None
    from tonnage.stores.redis.connecting import check, configured_url

    url = configured_url()
    if url is None:
        return None
    try:
        check(url)
    except ConfigError as error:
        # The variable may be there for the application's own sake.
        logger.warning("rate limits are not shared with other instances: %s", error)
        return None
    from tonnage.web.path.redisrates import RedisRates

    return RedisRates(url)


def make_compression(
    every: tuple[Rules, ...],
    *,
    level: int,
    least: str | int,
    types: Collection[str],
    may_compress: Callable[[], bool],
) -> Compression | None:
    """Return what compresses responses, if any of the rules asks for it.

    Raises:
        ConfigError: there is no such level, size or content type.
    """
    level = whole("compress_level", level, 1, 9)
    min_bytes = read("compress_min", least, parse_bytes)
    further = content_types("compress_types", types)
    if not any(rules.compress for rules in every):
        return None
    from tonnage.web.path.compress import Compression

    return Compression(level=level, min_bytes=min_bytes, types=further, may_compress=may_compress)


def make_decompression(every: tuple[Rules, ...]) -> Decompression | None:
    """Return what unpacks the bodies of requests, if any of the rules asks for it."""
    if not any(rules.decompress for rules in every):
        return None
    from tonnage.web.path.decompress import Decompression

    return Decompression()


def make_cors(
    origins: Collection[str],
    *,
    methods: Collection[str] | None,
    headers: Collection[str],
    expose: Collection[str],
    credentials: bool,
    max_age: str | float | None,
) -> Cors | None:
    """Return what pages of other sites may do, if any may do anything.

    Raises:
        ConfigError: one of them makes no sense, or Starlette is not installed.
    """
    sites = texts("cors_origins", origins)
    asked = names("cors_methods", methods)
    sent = names("cors_headers", headers)
    shown = names("cors_expose", expose)
    if credentials and "*" in shown:
        raise ConfigError("CORS with credentials needs cors_expose by name: '*' means none there")
    age_seconds = None if max_age is None else read("cors_max_age", max_age, parse_seconds)
    if not sites:
        return None
    from tonnage.web.path.cors import DAY_SECONDS, EXPOSED, METHODS, Cors

    return Cors(
        sites,
        methods=asked or METHODS,
        headers=sent,
        exposed=(*EXPOSED, *shown),
        credentials=credentials,
        max_age_seconds=DAY_SECONDS if age_seconds is None else round(age_seconds),
    )


def make_removed(given: Collection[str], *, request_ids: bool = False) -> frozenset[bytes]:
    """Return the *given* names of headers that no response is to have, as responses have them.

    With *request_ids*, an application's own is among them: ours takes its place.

    Raises:
        ConfigError: one is no name of a header.
    """
    removed = frozenset(name.lower().encode() for name in names("remove_headers", given))
    return removed | {b"x-request-id"} if request_ids else removed
