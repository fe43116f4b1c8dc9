"""The commands, in the order of ``tonnage --help``, and what it says of each.

They stand together here, and not each in the module of its command, so that help imports none.
"""

from __future__ import annotations

SUMMARIES = {
    "run": "run TARGET, an ASGI or WSGI application",
    "plan": "show who gets what of the memory limit, and why",
    "check": "check an application before it is deployed, or a server by its URL afterwards",
    "jobs": "do jobs of the task queue that TONNAGE_JOBS names, for the application in TARGET",
    "init": "write the files that deploy TARGET to a platform, by the plan for its memory",
    "db": "report on a database, or bring it to the newest version",
    "models": "list, install and check the models that remove backgrounds",
    "otel": "send the metrics of a running server to an OpenTelemetry receiver",
    "status": "show the memory, the level and the workers of a running server",
    "top": "watch a running server live: memory, workers, routes, stores, events",
    "logs": "show the last lines of a running server's log, of all its processes",
    "reclaim": "have a running server give memory back now, and show how much came free",
    "recycle": "replace the workers of a running server, without losing a request",
    "cache": "empty one cache of a running server, or all, in every worker",
    "leaks": "trace what one worker allocates for some seconds, and show the lines that leak",
    "postmortem": "show the report on a worker that died, or on a request that ran out of memory",
}
