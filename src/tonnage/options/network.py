"""Where to listen, what connections may come to, and which proxies to believe."""

from __future__ import annotations

from tonnage.options.kinds import DURATION, FILE, PORT, TEXT, size, whole
from tonnage.options.option import Option
from tonnage.units import KIB

OPTIONS: tuple[Option, ...] = (
    Option(
        "host",
        "listen",
        TEXT,
        "127.0.0.1",
        "address to listen on",
        default_note="127.0.0.1, or 0.0.0.0 when PORT is set in the environment, "
        "which is how hosting platforms ask for a public server",
    ),
    Option(
        "port",
        "listen",
        PORT,
        "8000",
        "port to listen on; 0 takes a free one",
        conventional=("PORT",),
    ),
    Option("uds", "listen", FILE, None, "Unix socket to listen on instead of host and port"),
    Option("fd", "listen", whole(0), None, "open socket to listen on instead of host and port"),
    Option("backlog", "listen", whole(1), "2048", "connections the kernel may keep waiting"),
    Option(
        "admin_port",
        "listen",
        PORT,
        None,
        "port of 127.0.0.1 where the supervisor answers health, whatever the application does",
        default_note="none",
    ),
    Option(
        "keep_alive_seconds",
        "listen",
        DURATION,
        "5",
        "how long an idle connection is kept open; less while memory is short",
    ),
    Option(
        "max_connections",
        "listen",
        whole(1),
        None,
        "connections that one worker serves at once; beyond it the longest idle ones are closed",
        default_note="what 4 % of the memory limit can hold, and what descriptors allow",
    ),
    Option(
        "header_seconds",
        "listen",
        DURATION,
        "10",
        "how long the head of a request may take to arrive; 0: for ever",
    ),
    Option(
        "max_header_bytes",
        "listen",
        size(KIB, "32K"),
        "32K",
        "what the head of a request may come to: URL and headers together",
    ),
    Option("max_headers", "listen", whole(1), "100", "headers that a request may have"),
    Option(
        "body_seconds",
        "listen",
        DURATION,
        "10",
        "a body that comes slower than min_body_rate for so long is cut; 0: never",
    ),
    Option(
        "min_body_rate",
        "listen",
        whole(1, metavar="BYTES"),
        "100",
        "bytes a second that a body has to come with, while it is read",
        field="min_body_bytes_per_second",
    ),
    Option(
        "proxy_hops",
        "listen",
        whole(0),
        "0",
        "proxies in front whose X-Forwarded-* headers are believed",
    ),
)
