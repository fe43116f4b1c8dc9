"""The page's own files: read when a browser asks for them, and sent with a strict policy.

    answer = send("page.css")
    answer = send("page.html", {"page": "tonnage"})      # {{page}} in the file becomes tonnage

They name no host, and nothing is fetched from elsewhere: the policy (:data:`POLICY`) has the
browser see to it. Bounded: together they are less than 100 KB, and none is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Nothing from elsewhere, no script or style inside the page, in no frame.
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Sent with whatever a browser may show.
HEADERS: Final = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
#: The parts that the page is made of, below its path.
PARTS: Final = (
    *("page.css", "icon.svg", "page.js", "live.js", "show.js", "tank.js", "chart.js"),
    *("stores.js", "tables.js", "acting.js", "words.js"),
)

_FILES: Final = Path(__file__).parent / "browser"
_TYPES: Final = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}


def send(name: str, put_in: Mapping[str, str] | None = None) -> Answer:
    """Return the file *name*.

    Args:
        name: one of :data:`PARTS`, ``page.html``, ``login.html`` or ``refused.html``.
        put_in: what stands in it between double braces, and what takes its place.
    """
    text = (_FILES / name).read_text("utf-8")
    for place, value in (put_in or {}).items():
        text = text.replace("{{" + place + "}}", value)
    return Answer(200, text.encode(), HEADERS, _TYPES[Path(name).suffix])
