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
    from tonnage.rates.table import Store
    from tonnage.rules import Rules
    from tonnage.web.path.compress import Compression
    from tonnage.web.path.cors import Cors
    from tonnage.web.path.decompress import Decompression
    from tonnage.web.path.options import PathOptions
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


def make_compression(every: tuple[Rules, ...], options: PathOptions) -> Compression | None:
    """Return what compresses responses, if any of the rules asks for it.

    Raises:
        ConfigError: there is no such level, size or content type.
    """
    level = whole("compress_level", options.compress_level, 1, 9)
    min_bytes = read("compress_min", options.compress_min, parse_bytes)
    types = content_types("compress_types", options.compress_types)
    if not any(rules.compress for rules in every):
        return None
    from tonnage.web.path.compress import Compression

    return Compression(
        level=level, min_bytes=min_bytes, types=types, may_compress=options.may_compress
    )


def make_decompression(every: tuple[Rules, ...]) -> Decompression | None:
    """Return what unpacks the bodies of requests, if any of the rules asks for it."""
    if not any(rules.decompress for rules in every):
        return None
    from tonnage.web.path.decompress import Decompression

    return Decompression()


def make_cors(options: PathOptions) -> Cors | None:
    """Return what pages of other sites may do, if any may do anything.

    Raises:
        ConfigError: one of them makes no sense, or Starlette is not installed.
    """
    origins = texts("cors_origins", options.cors_origins)
    methods = names("cors_methods", options.cors_methods)
    headers = names("cors_headers", options.cors_headers)
    exposed = names("cors_expose", options.cors_expose)
    if options.cors_credentials and "*" in exposed:
        raise ConfigError("CORS with credentials needs cors_expose by name: '*' means none there")
    max_age = options.cors_max_age
    age_seconds = None if max_age is None else read("cors_max_age", max_age, parse_seconds)
    if not origins:
        return None
    from tonnage.web.path.cors import DAY_SECONDS, EXPOSED, METHODS, Cors

    return Cors(
        origins,
        methods=methods or METHODS,
        headers=headers,
        exposed=(*EXPOSED, *exposed),
        credentials=options.cors_credentials,
        max_age_seconds=DAY_SECONDS if age_seconds is None else round(age_seconds),
    )


def make_removed(options: PathOptions) -> frozenset[bytes]:
    """Return the names of headers that no response is to have, as responses have them.

    Where requests get ids, an application's own is among them: ours takes its place.

    Raises:
        ConfigError: one is no name of a header.
    """
    given = names("remove_headers", options.remove_headers)
    removed = frozenset(name.lower().encode() for name in given)
    return removed | {b"x-request-id"} if options.request_ids else removed
