"""What connections may do: the limits, and the rules that follow from them; pure.

Covers how many connections a worker serves, how long an idle one is kept while memory grows short,
and what a client gets to read when its connection is refused. All bounds are stated here.

Does not cover what one connection does (:mod:`tonnage.server.protocol`), nor looking after all of
them (:mod:`tonnage.server.sweeper`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tonnage.governor.levels import Level
from tonnage.problem import Problem
from tonnage.units import KIB, MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tonnage.governor.page import Header
    from tonnage.problem import Shape
    from tonnage.settings import ListenSettings

CONNECTION_BYTES: Final = 12 * KIB
"""What an idle connection takes: 8.6 KB were measured in the worker, after a request with five
headers; the kernel's socket is reckoned at 3.4 KB."""

CONNECTION_SHARE: Final = 0.04
CONNECTIONS: Final = (256, 16384)
"""Connections by default: as many as 4 % of the limit hold, in all workers, within these bounds for
one worker."""

DESCRIPTOR_SHARE: Final = 1 / 8
LEAST_DESCRIPTORS: Final = 64
"""A worker keeps an eighth of its descriptors, and 64 at least, for the application's own use."""

MOST_EXTRA: Final = 16
"""Connections beyond the limit that are let in to ask for health; others get 503 on them."""

HEADS_BYTES: Final = 4 * MIB
"""Heads of requests that are not complete yet, in one worker together; beyond it the connections
that have been at it longest are cut."""

MOST_PIPELINED: Final = 16
"""Requests that wait on one connection for the answer to an earlier one; beyond it, the connection
ends with the answers to these. One takes 2.6 KB (measured, four headers)."""

UNASKED_BYTES: Final = 16 * KIB
"""With so much of a body here that the application has not asked for, no more is read. One read
brings up to 256 KB, so that is the most that can be here."""

CHUNK_BYTES: Final = 24
"""What the frame of one chunk may take: its size and two line ends. What it takes beyond that
(extensions, trailers) counts against the limit on headers."""

LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 16 * MIB
"""A body whose request is answered is dropped as it comes for so long, and so much of it. One that
ends within that leaves its connection to the next request; another ends it. Where the connection is
to be closed it is closed after that: with unread data on it, it is reset, and the client may lose
the answer."""

UNSENT_SECONDS: Final = 30.0
"""A connection that is closed waits for its client to read the rest, as long as anything of it goes
out in so long. nginx waits 60 s (`send_timeout`)."""

SHORT_IDLE_SECONDS: Final = 2.0
"""How long idle connections are kept at CRITICAL."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker's clients are held to; `math.inf` seconds mean: for ever."""

    most_connections: int
    max_header_bytes: int
    max_headers: int
    header_seconds: float
    body_seconds: float
    min_body_bytes_per_second: int
    keep_alive_seconds: float

    @property
    def sweep_seconds(self) -> float:
        """How often connections are looked at: a quarter of what matters, within 0.1 and 0.5 s."""
        shortest = min(self.header_seconds, self.body_seconds, self.keep_alive_seconds)
        return min(0.5, max(0.1, shortest / 4))


def limits_from(listen: ListenSettings, header: Header, descriptors: int) -> Limits:
    """Return the limits of a worker that may have *descriptors*; *header* is of the shared page."""
    most = most_connections(
        listen.max_connections, descriptors, header.limit_bytes, header.desired_workers
    )
    return Limits(
        most_connections=most,
        max_header_bytes=listen.max_header_bytes,
        max_headers=listen.max_headers,
        header_seconds=listen.header_seconds or math.inf,
        body_seconds=listen.body_seconds or math.inf,
        min_body_bytes_per_second=listen.min_body_bytes_per_second,
        keep_alive_seconds=listen.keep_alive_seconds,
    )


def most_connections(wished: int | None, descriptors: int, limit_bytes: int, workers: int) -> int:
    """Return how many connections one of *workers* serves at once.

    Never more than its *descriptors* allow; the kernel would accept them, and nobody could serve
    them. *limit_bytes* is the memory limit of the whole server.
    """
    spare = max(LEAST_DESCRIPTORS, int(descriptors * DESCRIPTOR_SHARE)) + MOST_EXTRA
    possible = max(1, descriptors - spare)
    if wished is not None:
        return min(wished, possible)
    least, most = CONNECTIONS
    share = limit_bytes * CONNECTION_SHARE / CONNECTION_BYTES / max(1, workers)
    return min(most, max(least, int(share)), possible)


def idle_seconds(keep_alive_seconds: float, header: Header) -> float:
    """Return how long an idle connection is kept, by how short memory is.

    As long as set below WARNING; from there down to :data:`SHORT_IDLE_SECONDS` at CRITICAL,
    linearly, as Envoy scales its timers between two marks; not at all at EXHAUSTED.
    """
    if header.used_bytes < header.warning_bytes:
        return keep_alive_seconds
    if header.level >= Level.EXHAUSTED:
        return 0.0
    short = min(SHORT_IDLE_SECONDS, keep_alive_seconds)
    if header.used_bytes >= header.critical_bytes:
        return short
    way = header.used_bytes - header.warning_bytes
    share = way / (header.critical_bytes - header.warning_bytes)
    return keep_alive_seconds + (short - keep_alive_seconds) * share


def slow_head(limits: Limits) -> Problem:
    """Return the answer to a request whose head has taken longer than *limits* allow."""
    return Problem(
        HTTPStatus.REQUEST_TIMEOUT,
        "request_timeout",
        f"the request's head did not come in time: send all of it within {limits.header_seconds:g}"
        " s, or try again over a better connection",
    )


def slow_body(limits: Limits) -> Problem:
    """Return the answer to a request whose body comes slower than *limits* allow."""
    return Problem(
        HTTPStatus.REQUEST_TIMEOUT,
        "request_timeout",
        "the request's body came too slowly: send at least"
        f" {format_bytes(limits.min_body_bytes_per_second)} a second, or try again over a better"
        " connection",
    )


class Cut(Enum):
    """Why a connection is ended that did not ask for it; the value is what the log says."""

    SLOW_HEAD = "sent the head of a request too slowly"
    SILENT = "sent nothing at all"
    SLOW_BODY = "sent a body too slowly"
    UNREAD = "had more of a body to send than is read after its answer"
    CROWD = "had to make room for others"
    INVALID = "sent what is not HTTP, or too large a head"


def response(
    problem: Problem,
    default_headers: Sequence[tuple[bytes, bytes]] = (),
    shape: Shape | None = None,
) -> bytes:
    """Return the whole answer to a request that the application never hears of, with its end."""
    answer = problem.answer(shape)
    phrase = HTTPStatus(answer.status).phrase
    head = f"HTTP/1.1 {answer.status} {phrase}\r\nconnection: close\r\n".encode()
    headers = (*default_headers, *answer.all_headers())
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"".join((head, lines, b"\r\n", answer.body))


INVALID: Final = Problem(
    HTTPStatus.BAD_REQUEST, "bad_request", "this is not valid HTTP/1.1: send a well-formed request"
)
TOO_LONG: Final = Problem(
    HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long", "the URL is too long: send data in a body"
)
TOO_LARGE: Final = Problem(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "headers_too_large",
    "the headers are too large: send fewer or shorter ones, cookies most of all",
)
TOO_MANY: Final = Problem(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "too_many_headers",
    "there are too many headers: send fewer",
)
TOO_MUCH_FRAMING: Final = Problem(
    HTTPStatus.BAD_REQUEST,
    "chunks_too_large",
    "the body's chunk extensions or trailers are too large: send it without them",
)
NO_MEMORY: Final = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "service_unavailable",
    "there was no memory to read this request just now: try again in 2 s",
    headers=((b"retry-after", b"2"),),
)
CROWDED: Final = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too_many_connections",
    "this server has as many connections as it can serve: try again in 1 s",
    headers=((b"retry-after", b"1"),),
)
