"""What operators are answered with, in the same words whichever process and path answers.

    answer_json({"asked": 2}, 202)
    problem(400, "bad_request", "worker=x is no worker")    {"error": ..., "detail": ...}

Pure: decides nothing, sends nothing. Applications' clients are answered elsewhere
(:mod:`tonnage.problem`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tonnage.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What opens everything, as it is told to those who lack it.
BEARER: Final = "'Authorization: Bearer <TONNAGE_ADMIN_TOKEN>'"
#: To whom nothing is shown that came with a browser.
NO_OTHER_SITE: Final = "to no page of another site"

Headers = tuple[tuple[bytes, bytes], ...]


def dumped(body: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Return *body* as JSON, in as few bytes as it takes."""
    # Escaped, a character that is not ASCII would take six bytes.
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="replace")


def answer_json(body: Mapping[str, Any], status: int = 200, headers: Headers = ()) -> Answer:
    """Return the answer that says *body*."""
    return Answer(status, dumped(body), headers)


def answer_text(text: str, headers: Headers = ()) -> Answer:
    """Return the answer for people that is *text*."""
    return Answer(200, text.encode(errors="replace"), headers, b"text/plain; charset=utf-8")


def problem(status: int, error: str, detail: str, headers: Headers = ()) -> Answer:
    """Return the answer to what cannot be done.

    Args:
        status: of HTTP.
        error: what it is, in a word for programs.
        detail: what it is and what to do, in a sentence for people.
        headers: further ones.
    """
    return answer_json({"error": error, "detail": detail}, status, headers)


def see_other(path: str, headers: Headers = ()) -> Answer:
    """Return the answer that sends a browser on to *path*, with *headers* besides."""
    return Answer(303, b"", ((b"location", path.encode()), *headers), b"text/plain")


def wrong_method(allowed: str) -> Answer:
    """Return the answer to a method that is not one of those *allowed*: ``GET, HEAD``."""
    detail = f"this path takes {allowed}"
    return problem(405, "method_not_allowed", detail, ((b"allow", allowed.encode()),))


def too_many_attempts(seconds: float) -> Answer:
    """Return the answer to a client whose tokens open nothing for so many *seconds* more."""
    after = max(1, round(seconds))
    detail = f"too many wrong tokens came from this address: try again in {after} s"
    return problem(429, "too_many_attempts", detail, ((b"retry-after", b"%d" % after),))


def who_may(what: str, *more: str) -> str:
    """Return the sentence on who may: *what* happens to whom, and what *more* opens or is asked."""
    return ", ".join((f"{what} to loopback peers without a proxy", *more, f"or with {BEARER}"))
