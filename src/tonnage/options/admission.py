"""Who may enter, how long they may wait, and where health is told to whom."""

from __future__ import annotations

from tonnage.options.kinds import (
    DURATION,
    POSITIVE_DURATION,
    SWITCH,
    TEXT,
    URL_PATH,
    URL_PATH_OR_OFF,
    whole,
)
from tonnage.options.option import Option

OPTIONS: tuple[Option, ...] = (
    Option("admission", "admission", SWITCH, "true", "let requests wait until their memory fits"),
    Option(
        "queue_seconds",
        "admission",
        DURATION,
        "10",
        "how long a request may wait before it gets 503",
    ),
    Option(
        "queue_requests",
        "admission",
        whole(0),
        None,
        "how many requests may wait",
        default_note="a number that a small share of the limit can hold",
    ),
    Option(
        "retry_after_seconds",
        "admission",
        POSITIVE_DURATION,
        None,
        "the Retry-After of a refusal",
        default_note="estimated from the queue",
    ),
    Option(
        "health_path",
        "admission",
        URL_PATH,
        "/health",
        "where health is answered; /ready and /memory are below it",
    ),
    Option(
        "page_path",
        "admission",
        URL_PATH_OR_OFF,
        "/tonnage",
        "where operators find the live page; what is below it never reaches the application",
    ),
    Option(
        "metrics_path",
        "admission",
        URL_PATH_OR_OFF,
        "/metrics",
        "where operators' metrics are, unless the application has a route there; "
        "they are below the page as well, as /tonnage/metrics",
    ),
    Option(
        "api_aliases",
        "admission",
        SWITCH,
        "false",
        "answer what is for operators below /api as well: /api/health, /api/metrics, "
        "/api/cache/clear",
    ),
    Option(
        "admin_token",
        "admission",
        TEXT,
        None,
        "secret that opens the details to remote clients",
        default_note="none: only local clients see the details",
        is_secret=True,
    ),
)
