"""What the limits are kept with, made of options: limiters, compression, decompression, CORS.

The same for ASGI and for WSGI. A part that no rule asks for is not made, and not imported either:
each costs every process something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.errors import ConfigError
from tonnage.units import parse_bytes, parse_seconds
from tonnage.web.path.checks import content_types, names, read, texts, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tonnage.web.path.compress import Compression
    from tonnage.web.path.cors import Cors
    from tonnage.web.path.decompress import Decompression
    from tonnage.web.path.ratelimit import RateLimiter
    from tonnage.web.path.ratetable import Store
    from tonnage.web.path.rules import Rules


def make_limiters(every: tuple[Rules, ...], store: Store | None) -> dict[str, RateLimiter]:
    """Return the rate limiter of each rule that has one, by the rule's name.

    Args:
        every: all rules, the default first.
        store: where it is counted; None: in the table of this process.
    """
    limited = [rules for rules in every if rules.rate_limit]
    if not limited:
        return {}
    from tonnage.web.path.clients import Clients
    from tonnage.web.path.ratelimit import RateLimiter
    from tonnage.web.path.ratetable import default_table

    store = default_table() if store is None else store
    clients = Clients(store.secret)
    default, limiters = every[0], dict[str, RateLimiter]()
    for rules in limited:
        # A route that names no limit shares the one of all: it counts there. One that names its own
        # counts apart, even if it says the same: so it is not asked whether they are equal.
        owner = default if rules.rate_limit is default.rate_limit else rules
        limiters[rules.name] = limiters.get(owner.name) or RateLimiter(
            rules.rate_limit, name=owner.name, store=store, clients=clients
        )
    return limiters


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


def make_removed(given: Collection[str]) -> frozenset[bytes]:
    """Return the *given* names of headers that no response is to have, as responses have them.

    Raises:
        ConfigError: one is no name of a header.
    """
    return frozenset(name.lower().encode() for name in names("remove_headers", given))
