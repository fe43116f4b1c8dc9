"""What the answers of a deployed server mean. Pure.

As :mod:`tonnage.commands.checking.targetchecks`: from facts to findings, in the order in which they
are told. A proxy in front may have given an answer: then it counts as the server's, as for clients.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tonnage.commands.checking.findings import failed, passed, skipped
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.commands.checking.findings import Finding
    from tonnage.commands.checking.sitefacts import Reply, SiteFacts

#: Answers that are smaller are hardly worth compressing.
LEAST_PACKED_BYTES: Final = 1024
#: Servers that started within so many seconds of one another count as one.
SAME_START_SECONDS: Final = 1.0

_OK: Final = 200
_REFUSED: Final = (401, 403)
_NOT_ALLOWED: Final = 405
_TOO_LARGE: Final = 413
_TOO_MANY: Final = 429
_TALKATIVE: Final = ("x-powered-by", "x-aspnet-version", "x-runtime")
# What every server of ours tells.
_OURS: Final = b"\ntonnage_build_info{"
# A program of Python's, or any with its version, says what is known to be wrong with it.
_SERVER: Final = re.compile(r"uvicorn|gunicorn|hypercorn|granian|daphne|werkzeug|python|/\d", re.I)
_TRACES: Final = (b"Traceback (most recent call last)", b"DEBUG = True", b"Werkzeug Debugger")


def check_site(facts: SiteFacts) -> list[Finding]:
    """Return what each check finds in *facts*."""
    return [check(facts) for check in CHECKS]


def health(facts: SiteFacts) -> Finding:
    """Whether health answers, and says OK."""
    wrong = [each for each in facts.healths if each.status != _OK or each.error]
    if wrong:
        told = f"{len(wrong)} of {len(facts.healths)} answers were {wrong[0]}"
        return failed("health", told, "see that it runs by tonnage run, or name --health-path")
    said = sorted({str(each.fields().get("status")) for each in facts.healths})
    if said == ["OK"]:
        return passed("health", f"OK, {len(facts.healths)} times")
    if said == ["None"]:
        return failed("health", "the answer has no status", "name --health-path")
    return failed(
        "health", f"says {', '.join(said)}", "see tonnage status, and give it more memory"
    )


def ready(facts: SiteFacts) -> Finding:
    """Whether it takes requests."""
    if facts.ready.status == _OK:
        return passed("ready", "takes requests")
    return failed("ready", f"answers {facts.ready}", "see tonnage status")


def memory(facts: SiteFacts) -> Finding:
    """Whether memory is below the thresholds, and has been."""
    found = facts.memory.fields()
    if facts.memory.status != _OK or not isinstance(found.get("memory"), dict):
        if facts.has_token:
            told = f"the token is refused: {facts.memory}"
            return failed("memory", told, "set TONNAGE_ADMIN_TOKEN here to what the server has")
        return skipped("memory", "set TONNAGE_ADMIN_TOKEN (and use https) to see it")
    told = f"{found['memory'].get('usagePercent')} % of {found['memory'].get('limit')} MB"
    if found.get("status") != "OK":
        advice = "give it more memory, or look for what holds it: tonnage status, tonnage leaks"
        return failed("memory", f"{found.get('status')}: {told}", advice)
    trouble = list(_trouble(found))
    if trouble:
        return failed("memory", f"{told}; {', '.join(trouble)}", "see tonnage postmortem")
    return passed("memory", told)


def _trouble(found: dict[str, Any]) -> list[str]:
    kills, planned = found.get("kernelKills"), found.get("plannedWorkers")
    trouble = [f"the kernel has killed {kills} processes"] if kills else []
    if found.get("desiredWorkers") != planned:
        trouble.append(f"{found.get('desiredWorkers')} of {planned} workers are left")
    return trouble


def metrics(facts: SiteFacts) -> Finding:
    """Whether whoever collects figures gets them, with the token."""
    reply = facts.metrics
    if reply is None:
        return skipped("metrics", "--metrics-path turns them off")
    if reply.status == _OK and _OURS in reply.body:
        series = sum(not line.startswith(b"#") for line in reply.body.splitlines())
        return passed("metrics", f"{series} series")
    if reply.status == _OK:
        return skipped("metrics", "the application's own are at this path")
    if reply.status in _REFUSED and not facts.has_token:
        return skipped("metrics", "set TONNAGE_ADMIN_TOKEN (and use https) to see them")
    if reply.status in _REFUSED:
        told = f"the token is refused: {reply}"
        return failed("metrics", told, "set TONNAGE_ADMIN_TOKEN here to what the server has")
    return failed("metrics", f"the answer was: {reply}", "name --metrics-path")


def instances(facts: SiteFacts) -> Finding:
    """Whether there are no more servers than there are to be: each has started at another time."""
    begun = [
        (each.asked_seconds - uptime, each.at_seconds - uptime)
        for each in facts.healths
        if isinstance(uptime := each.fields().get("uptime"), (int, float))
    ]
    if not begun:
        return skipped("instances", "health does not say how long it has been up")
    count = _servers(begun)
    told = f"{count} server{'s' if count > 1 else ''} in {len(begun)} answers"
    if count > facts.instances:
        advice = "run fewer, or say --instances; state that one keeps, others do not know"
        return failed("instances", told, advice)
    return passed("instances", told)


def _servers(begun: list[tuple[float, float]]) -> int:
    """Return the least number of servers that can have started *begun*: earliest, and latest.

    How long an answer was on its way is not known, so that each has started within a span.
    """
    count, latest = 0, float("-inf")
    for earliest, last in sorted(begun, key=lambda span: span[1]):
        if earliest > latest + SAME_START_SECONDS:
            count, latest = count + 1, last
    return count


def closed(facts: SiteFacts) -> Finding:
    """Whether strangers are refused what is for operators."""
    asked = (*facts.strangers, *(facts.outsiders or ()))
    # In the order of the questions, each path once.
    is_open = dict.fromkeys(path for path, reply in asked if _OK <= reply.status < 300)
    if is_open:
        advice = "close it: have the proxy in front send X-Forwarded-For, and Host as it came"
        return failed("closed", f"open to everyone: {', '.join(is_open)}", advice)
    if facts.outsiders is None:
        return skipped("closed", "cannot tell: this machine is trusted; ask from another one")
    return passed("closed", f"{len(facts.strangers)} paths of operators refuse a stranger")


def compression(facts: SiteFacts) -> Finding:
    """Whether answers are compressed, and caches are told."""
    packed, plain_bytes = facts.packed, len(facts.plain.body)
    if packed.error:
        return skipped("compression", f"no answer: {packed.error}")
    if not packed.header("content-encoding"):
        if plain_bytes < LEAST_PACKED_BYTES:
            told = f"an answer of {format_bytes(plain_bytes)} is too small: name a larger by --path"
            return skipped("compression", told)
        told = f"{format_bytes(plain_bytes)} came as they are"
        return failed("compression", told, "set --compress")
    vary = packed.header("vary").lower()
    if "accept-encoding" not in vary and vary != "*":
        advice = "have Vary: Accept-Encoding sent, or caches give it to clients that cannot read it"
        return failed("compression", "compressed, without Vary", advice)
    return passed("compression", f"{len(packed.body)} instead of {plain_bytes} bytes")


def bodies(facts: SiteFacts) -> Finding:
    """Whether a body that is too large is refused before it is sent."""
    size = format_bytes(facts.large_bytes)
    if facts.large.status == _TOO_LARGE:
        return passed("bodies", f"{size} are refused before they are sent")
    if facts.large.status == _NOT_ALLOWED:
        return skipped("bodies", "the page takes none (405): name one that does by --path")
    told = f"{size} were announced, and the answer was: {facts.large}"
    return failed(
        "bodies", told, "set --max-body, or name the size that is too large: --probe-body"
    )


def rates(facts: SiteFacts) -> Finding:
    """Whether a client that asks too often is told when to come again."""
    if facts.rates is None:
        return skipped("rates", "not asked for: --probe-rate N spends up to N requests")
    last = facts.rates[-1]
    count = len(facts.rates)
    if last.status != _TOO_MANY:
        told = f"{count} requests, and the last answer was: {last}"
        return failed("rates", told, "set --rate-limit, or allow more requests for looking")
    if not last.header("retry-after"):
        return failed("rates", "429 without Retry-After", "say when the client may come again")
    return passed("rates", f"429 after {count} requests, Retry-After {last.header('retry-after')}")


def headers(facts: SiteFacts) -> Finding:
    """Whether responses say more than clients need."""
    said = [name for name in _TALKATIVE if facts.plain.header(name)]
    server = facts.plain.header("server")
    said += [f"server: {server}"] if _SERVER.search(server) else []
    if said:
        told = f"responses say {', '.join(said)}"
        return failed("headers", told, "set --remove-headers server,x-powered-by")
    return passed("headers", "responses do not say what the server is made of")


def browsers(facts: SiteFacts) -> Finding:
    """Whether browsers are told to be careful with pages."""
    lacks = []
    is_page = facts.plain.header("content-type").startswith("text/html")
    if is_page and facts.plain.header("x-content-type-options").lower() != "nosniff":
        lacks.append("X-Content-Type-Options: nosniff")
    if facts.is_encrypted and not facts.plain.header("strict-transport-security"):
        lacks.append("Strict-Transport-Security")
    if lacks:
        told = f"responses lack {' and '.join(lacks)}"
        return failed("browsers", told, "have the application or the proxy send it")
    return passed("browsers", "nothing is missing that browsers need")


def cors(facts: SiteFacts) -> Finding:
    """Whether pages of every site may call with the cookies of whoever looks at them."""
    allowed = facts.foreign.header("access-control-allow-origin")
    with_cookies = facts.foreign.header("access-control-allow-credentials").lower() == "true"
    if allowed and with_cookies:
        told = f"a page of any site may call with cookies ({allowed})"
        return failed("cors", told, "name the origins, or allow no credentials")
    return passed("cors", "no page of an unknown site may call with cookies")


def errors(facts: SiteFacts) -> Finding:
    """Whether a page that is not there is told as that, without the code."""
    missing = facts.missing
    if any(trace in missing.body for trace in _TRACES):
        return failed("errors", "error pages show the code", "turn debug modes off")
    if missing.status >= 500 or missing.error:
        told = f"a page that is not there gives {missing}"
        return failed("errors", told, "have it answered with 404")
    return passed("errors", f"a page that is not there gives {missing}, without the code")


def keep_alive(facts: SiteFacts) -> Finding:
    """Whether connections are kept: each new one costs a round trip, with TLS two."""
    if facts.plain.is_kept:
        return passed("keep-alive", "connections are kept for further requests")
    return failed("keep-alive", "each connection is closed", "raise --keep-alive-seconds")


def encryption(facts: SiteFacts) -> Finding:
    """Whether what clients send can be read on the way."""
    if not facts.is_encrypted:
        if facts.is_here:
            return skipped("encryption", "the server is on this machine")
        return failed("encryption", "the URL is not https", "have a proxy in front encrypt")
    found: Reply | None = facts.unencrypted
    if found is None or found.error:
        return passed("encryption", "https, and plain http is closed")
    if found.header("location").startswith("https://"):
        return passed("encryption", "https, and plain http leads there")
    return failed("encryption", f"plain http is answered with {found}", "redirect it to https")


CHECKS: Final[tuple[Callable[[SiteFacts], Finding], ...]] = (
    *(health, ready, memory, metrics, instances, closed, compression, bodies, rates),
    *(headers, browsers, cors, errors, keep_alive, encryption),
)
