"""What applies to the requests of one route, made ready: limiters, compression, what is removed.

Made once, for ASGI and for WSGI, so that a request asks one object and nothing is looked up for it
twice. Decides nothing. What a user may write is :mod:`tonnage.rules`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage.checks import function
from tonnage.web.path.parts import (
    make_compression,
    make_cors,
    make_decompression,
    make_limiters,
    make_removed,
)

if TYPE_CHECKING:
    from tonnage.problem import Shape
    from tonnage.rules import Rules
    from tonnage.web.path.compress import Compression
    from tonnage.web.path.cors import Cors
    from tonnage.web.path.decompress import Decompression
    from tonnage.web.path.options import PathOptions
    from tonnage.web.path.parts import Limiter
    from tonnage.web.respond import Scope


@dataclass(frozen=True, slots=True)
class Lane:
    """The parts that the requests of one route meet; None: they meet no such part.

    Attributes:
        rules: what was asked for.
        limits_bodies: whether anything is to be counted in a body.
        response_limit_bytes: how large a response may be; none where it has no end.
        timeout_seconds: how long it may take; likewise.
        limiter: counts its requests.
        compression: compresses its responses.
        decompression: unpacks its requests.
        cors: what other sites' pages may do.
        removed: names, in lower case, of headers that no response of the application is to have.
        request_ids: whether its requests get an id.
        shape: makes the JSON of our answers; None: problem details.
    """

    rules: Rules
    limits_bodies: bool
    response_limit_bytes: int | None
    timeout_seconds: float | None
    limiter: Limiter | None
    compression: Compression | None
    decompression: Decompression | None
    cors: Cors | None
    removed: frozenset[bytes]
    request_ids: bool
    shape: Shape | None


class Lanes:
    """The lanes of one application.

    Raises:
        ConfigError: a limit makes no sense, or what it needs is not installed.
    """

    def __init__(self, options: PathOptions) -> None:
        self._book = options.book()
        function("shape", options.shape)
        function("may_compress", options.may_compress)
        every = self._book.all()
        removed = make_removed(options)
        limiters = make_limiters(every, options.rate_store)
        compression = make_compression(every, options)
        decompression = make_decompression(every)
        cors = make_cors(options)
        self._by_name = {
            rules.name: Lane(
                rules=rules,
                limits_bodies=rules.are_limiting_bodies,
                response_limit_bytes=None if rules.stream else rules.max_response_bytes,
                timeout_seconds=None if rules.stream else rules.timeout_seconds,
                limiter=limiters.get(rules.name),
                compression=compression if rules.compress else None,
                decompression=decompression if rules.decompress else None,
                cors=cors,
                removed=removed,
                request_ids=options.request_ids,
                shape=options.shape,
            )
            for rules in every
        }
        #: The lane of all requests, where no route has rules of its own.
        self.only = None if options.routes else self._by_name[every[0].name]

    def all(self) -> tuple[Lane, ...]:
        """Return all lanes, that of no route in particular first."""
        return tuple(self._by_name.values())

    def find(self, scope: Scope) -> Lane:
        """Return the lane for the request of *scope*."""
        return self.only or self._by_name[self._book.find(scope).name]
