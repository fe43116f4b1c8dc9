"""What the limits on a request's way mean, before an application is deployed. Pure.

An application with Tonnage's middleware of its own has its limits in there, where they are not
looked for: what the options leave out is then skipped, not failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.commands.checking.findings import failed, passed, skipped
from tonnage.rules import RuleBook, read_rules
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.commands.checking.facts import TargetFacts
    from tonnage.commands.checking.findings import Finding
    from tonnage.rules import Rules

NOT_IMPORTED: Final = "the application was not imported"

_OWN: Final = "the options set none; the application has middleware of its own"
_NAMED: Final = 5
_EVERY_SITE: Final = frozenset({"re:.*", "re:.+", "re:https?://.*"})
_NAME_THEM: Final = "name the origins, or allow no credentials"


def bodies(facts: TargetFacts) -> Finding:
    """Whether the body of a request has an end, on every route."""
    most_bytes = facts.settings.path.max_body_bytes
    told = "" if most_bytes is None else f"at most {format_bytes(most_bytes)}"
    return _limited(
        "bodies",
        facts,
        told,
        lambda rules: rules.max_body_bytes is not None,
        'set --max-body, for example 1M; for a route, max_body under [tool.tonnage.routes."..."]',
    )


def uploads(facts: TargetFacts) -> Finding:
    """Whether each route that takes files says how large they may be."""
    if facts.app is None or facts.options_error is not None:
        return skipped("uploads", NOT_IMPORTED)
    if not facts.app.file_routes:
        return skipped("uploads", "no route is known to take files")
    book = _book(facts)
    unlimited = []
    for route in facts.app.file_routes:
        method, _, path = route.partition(" ")
        rules = book.find({"method": method, "path": path})
        if rules.max_upload_bytes is None and rules.max_body_bytes is None:
            unlimited.append(route)
    if not unlimited:
        return passed("uploads", f"{len(facts.app.file_routes)} routes with files, all limited")
    if facts.app.has_own_limits:
        return skipped("uploads", _OWN)
    told = f"files of any size: {_named(unlimited)}"
    return failed("uploads", told, "set --max-upload, or max_upload for the route")


def timeouts(facts: TargetFacts) -> Finding:
    """Whether a request that stalls is ended."""
    seconds = facts.settings.path.timeout_seconds
    return _limited(
        "timeouts",
        facts,
        "" if seconds is None else f"{seconds:g} s",
        lambda rules: rules.timeout_seconds is not None or rules.stream,
        "set --timeout, for example 30s; mark routes without an end with stream = true",
    )


def rates(facts: TargetFacts) -> Finding:
    """Whether one client can take all there is."""
    return _limited(
        "rates",
        facts,
        facts.settings.path.rate_limit or "",
        lambda rules: bool(rules.rate_limit),
        "set --rate-limit, for example 100/15m",
    )


def cors(facts: TargetFacts) -> Finding:
    """Whether pages of every site may call with the cookies of whoever looks at them."""
    if facts.app is None:
        return skipped("cors", NOT_IMPORTED)
    path = facts.settings.path
    # By name, '*' with cookies is refused by the options themselves.
    if path.cors_credentials and _EVERY_SITE.intersection(path.cors_origins or ()):
        return failed("cors", "--cors-origins lets every site call with cookies", _NAME_THEM)
    if facts.app.open_cors is not None:
        told = f"{facts.app.open_cors} lets pages of every site call with cookies"
        return failed("cors", told, _NAME_THEM)
    return passed("cors", "no page of an unknown site may call with cookies")


PATH_CHECKS: Final[tuple[Callable[[TargetFacts], Finding], ...]] = (
    bodies,
    uploads,
    timeouts,
    rates,
    cors,
)


def _limited(
    name: str, facts: TargetFacts, told: str, has_limit: Callable[[Rules], bool], advice: str
) -> Finding:
    """Return whether the rules of every route have the limit."""
    if facts.options_error is not None:
        return skipped(name, "the options are refused")
    without = [rules.name for rules in _book(facts).all() if not has_limit(rules)]
    if not without:
        return passed(name, told or "set for every route")
    if facts.app is not None and facts.app.has_own_limits and "default" in without:
        return skipped(name, _OWN)
    what = "no limit" if "default" in without else f"no limit for {_named(without)}"
    return failed(name, what, advice)


def _book(facts: TargetFacts) -> RuleBook:
    path = facts.settings.path
    default = {
        "max_body": path.max_body_bytes,
        "max_upload": path.max_upload_bytes,
        "timeout": path.timeout_seconds,
        "rate_limit": path.rate_limit,
    }
    return RuleBook(read_rules(default), path.routes)


def _named(routes: list[str]) -> str:
    more = len(routes) - _NAMED
    return ", ".join(routes[:_NAMED]) + (f" and {more} more" if more > 0 else "")
