"""How many processes and threads there are, and when a worker is replaced."""

from __future__ import annotations

from tonnage.options.kinds import (
    DURATION,
    INTERVAL_OR_OFF,
    POSITIVE_DURATION,
    SWITCH,
    size,
    whole,
)
from tonnage.options.option import Option
from tonnage.units import MIB

OPTIONS: tuple[Option, ...] = (
    Option(
        "workers",
        "process",
        whole(1),
        None,
        "worker processes; what does not fit is refused, or reduced if it is from WEB_CONCURRENCY",
        conventional=("WEB_CONCURRENCY",),
        default_note="what processors and memory can hold",
    ),
    Option(
        "clustering",
        "process",
        SWITCH,
        None,
        "true allows several workers on a small limit, false forces one",
        conventional=("ENABLE_CLUSTERING",),
        default_note="several only where they fit well",
    ),
    Option("threads", "process", whole(1), "16", "threads per worker for synchronous code"),
    Option(
        "stop_seconds",
        "process",
        DURATION,
        "30",
        "how long requests may take to finish when the server stops",
    ),
    Option(
        "start_seconds",
        "process",
        POSITIVE_DURATION,
        "60",
        "how long a worker may take to start",
    ),
    Option(
        "recycle",
        "recycling",
        SWITCH,
        "true",
        "replace a worker that does not give memory back, without losing a request",
    ),
    Option(
        "recycle_above",
        "recycling",
        size(MIB, "200M"),
        None,
        "a worker whose own memory stays above this after a collection is replaced",
        field="recycle_above_bytes",
        default_note="only what endangers the common limit counts",
    ),
    Option(
        "max_requests",
        "recycling",
        whole(0),
        "0",
        "a worker is replaced after so many requests, and up to a tenth more; 0 never",
    ),
    Option(
        "max_lifetime",
        "recycling",
        INTERVAL_OR_OFF,
        "0",
        "a worker is replaced after so long, and up to a tenth more; 0 never",
        field="max_lifetime_seconds",
    ),
)
