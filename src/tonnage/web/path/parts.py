"""What the limits are kept with, made of options: limiters, compression, decompression, CORS.

The same for ASGI and for WSGI. A part that no rule asks for is not made, and not imported either:
each costs every process something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.errors import ConfigError

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
        # A route that has no limit of its own shares the one of all: it counts there.
        owner = default if rules.rate_limit == default.rate_limit else rules
        limiters[rules.name] = limiters.get(owner.name) or RateLimiter(
            rules.rate_limit, name=owner.name, store=store, clients=clients
        )
    return limiters


def make_compression(
    every: tuple[Rules, ...], level: int, may_compress: Callable[[], bool]
) -> Compression | None:
    """Return what compresses responses, if any of the rules asks for it.

    Raises:
        ConfigError: there is no such level.
    """
    if not any(rules.compress for rules in every):
        return None
    from tonnage.web.path.compress import Compression

    return Compression(level=level, may_compress=may_compress)


def make_decompression(every: tuple[Rules, ...]) -> Decompression | None:
    """Return what unpacks the bodies of requests, if any of the rules asks for it."""
    if not any(rules.decompress for rules in every):
        return None
    from tonnage.web.path.decompress import Decompression

    return Decompression()


def make_cors(
    origins: Collection[str],
    methods: Collection[str] | None,
    headers: Collection[str],
    credentials: bool,
    max_age_seconds: int | None,
) -> Cors | None:
    """Return what pages of other sites may do, if any may do anything.

    Raises:
        ConfigError: an origin makes no sense, or Starlette is not installed.
    """
    if not _several("cors_origins", origins):
        return None
    from tonnage.web.path.cors import DAY_SECONDS, METHODS, Cors

    return Cors(
        origins,
        methods=_several("cors_methods", methods or METHODS),
        headers=_several("cors_headers", headers),
        credentials=credentials,
        max_age_seconds=DAY_SECONDS if max_age_seconds is None else max_age_seconds,
    )


def make_removed(names: Collection[str]) -> frozenset[bytes]:
    """Return the *names* of headers that no response is to have, as responses have them.

    Raises:
        ConfigError: it is one text.
    """
    several = _several("remove_headers", names)
    return frozenset(name.strip().lower().encode("latin-1") for name in several)


def _several(option: str, given: Collection[str]) -> Collection[str]:
    if isinstance(given, str):
        raise ConfigError(f"{option}={given!r} is one text: write a list, as in [{given!r}]")
    return given
