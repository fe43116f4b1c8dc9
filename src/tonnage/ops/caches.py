"""Clearing caches for operators: of all workers, at once.

In a worker: the notice is posted in shared memory, and each worker obeys it before its next lookup,
or within a tenth of a second. A name that no worker has given to a cache is refused, with those
that there are. Who may ask is decided by whoever asks here. The supervisor has its workers do the
same (:mod:`tonnage.server.operator`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from tonnage.ops.answers import NO_OTHER_SITE, answer_json, problem, who_may, wrong_method
from tonnage.ops.query import QueryError, read_query

if TYPE_CHECKING:
    from tonnage.answer import Answer

PATH: Final = "/cache/clear"

_FORBIDDEN: Final = who_may("clearing caches is open", NO_OTHER_SITE)


def has_caches() -> bool:
    """Return whether the application of this process has made a cache."""
    return "tonnage.stores.cache" in sys.modules


def clear(name: str | None) -> dict[str, Any]:
    """Clear the caches called *name*, or all, in every worker; return what is said of it."""
    # Imported when somebody asks: few applications have none and are asked.
    from tonnage.stores import bulletin

    bulletin.clear(name)
    if has_caches():
        from tonnage.stores.cache import Cache

        # And what they keep in Redis, which other instances hear of.
        for cache in bulletin.bulletin().members(name):
            if isinstance(cache, Cache):
                cache.clear()
    what = "all caches" if name is None else f"the caches called {name!r}"
    return {"cleared": name, "detail": f"{what} are cleared, in every worker"}


def why_unknown(name: str | None) -> Answer | None:
    """Return the refusal of a *name* that no cache of this server has; None: clear it."""
    if name is None:
        return None
    from tonnage.stores.roster import others_than

    others = others_than(name)
    if not others:
        return None
    detail = f"there is no cache called {name[:100]!r}; there are {', '.join(map(repr, others))}"
    return problem(404, "not_found", detail)


def answer_clear(method: str, query: str, *, trusted: bool) -> Answer:
    """Return the answer to a request, and do what it asks for."""
    if method != "POST":
        return wrong_method("POST")
    if not trusted:
        return problem(403, "forbidden", _FORBIDDEN)
    try:
        name = read_query(query, "name").get("name")
    except QueryError as error:
        return problem(400, "bad_request", str(error))
    return why_unknown(name) or answer_json(clear(name))
