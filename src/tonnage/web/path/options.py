"""What the limits around an application are to be, whether arguments or settings say it.

What each option means stands with :class:`~tonnage.web.path.middleware.Tonnage`. Here they are as
they were given: who makes something of one checks it, :mod:`tonnage.rules` for those of routes and
:mod:`tonnage.web.path.parts` for most others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from tonnage.rules import RULES, RuleBook, read_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tonnage.problem import Shape
    from tonnage.rates.limits import LimitsLike
    from tonnage.rates.table import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOptions:
    """The options by the names that users write. Those with a default are no settings."""

    max_body: str | int | None
    max_upload: str | int | None
    max_response: str | int | None
    timeout: str | float | None
    rate_limit: LimitsLike | None
    compress: bool
    decompress: bool
    decompress_ratio: float | None
    routes: Mapping[str, Mapping[str, Any]] | None
    remove_headers: Collection[str] | None
    request_ids: bool
    compress_level: int
    compress_min: str | int
    compress_types: Collection[str] | None
    cors_origins: Collection[str] | None
    cors_methods: Collection[str] | None
    cors_headers: Collection[str] | None
    cors_expose: Collection[str] | None
    cors_credentials: bool
    cors_max_age: str | float | None
    may_compress: Callable[[], bool] = lambda: True
    proxy_hops: int = 0
    shape: Shape | None = None
    rate_store: Store | None = None

    def book(self) -> RuleBook:
        """Return the rules of all routes.

        Raises:
            ConfigError: one of them makes no sense.
        """
        names = (field.name for field in fields(self))
        every = read_rules({name: getattr(self, name) for name in names if name in RULES})
        return RuleBook(every, self.routes)
