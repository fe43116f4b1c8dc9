"""The commands, in the order of ``tonnage --help``: where each is, and what help says of it.

They stand together here, and not each in the module of its command, so that help imports none.
"""

from __future__ import annotations

#: Of each command the module of :mod:`tonnage.cli` that has it, and what it does.
COMMANDS = {
    "run": ("run", "run TARGET, an ASGI or WSGI application"),
    "plan": ("plan", "show who gets what of the memory limit, and why"),
    "check": (
        "check",
        "check an application before it is deployed, or a server by its URL afterwards",
    ),
    "jobs": (
        "jobs",
        "do jobs of the task queue that TONNAGE_JOBS names, for the application in TARGET",
    ),
    "init": (
        "init",
        "write the files that deploy TARGET to a platform, by the plan for its memory",
    ),
    "db": ("database", "report on a database, or bring it to the newest version"),
    "models": ("models", "list, install and check the models that remove backgrounds"),
    "otel": ("otel", "send the metrics of a running server to an OpenTelemetry receiver"),
    "status": ("control", "show the memory, the level and the workers of a running server"),
    "top": ("control", "watch a running server live: memory, workers, routes, stores, events"),
    "logs": ("control", "show the last lines of a running server's log, of all its processes"),
    "reclaim": (
        "control",
        "have a running server give memory back now, and show how much came free",
    ),
    "recycle": ("control", "replace the workers of a running server, without losing a request"),
    "cache": ("control", "empty one cache of a running server, or all, in every worker"),
    "leaks": (
        "control",
        "trace what one worker allocates for some seconds, and show the lines that leak",
    ),
    "postmortem": (
        "control",
        "show the report on a worker that died, or on a request that ran out of memory",
    ),
}
