"""Findings as text for a terminal: one line each, and one below for what to do about a fault.

Pure. What comes from servers and applications is printed as far as it is printable, and so much of
it: a terminal would obey the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tonnage.logs.texts import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tonnage.commands.checking.findings import Checked

_LONGEST: Final = 400
_WORDS: Final = {"pass": "ok", "fail": "FAIL", "skip": "-"}


def told(checked: Checked) -> str:
    """Return the text of *checked*."""
    return "\n".join(_lines(checked)) + "\n"


def _lines(checked: Checked) -> Iterator[str]:
    yield _line(f"{checked.subject}, {checked.stage}")
    width = max(len(each.name) for each in checked.findings)
    for each in checked.findings:
        yield _line(f"  {_WORDS[each.outcome]:4}  {each.name:{width}}  {each.told}")
        if each.advice:
            yield _line(f"  {'':4}  {'':{width}}  -> {each.advice}")
    yield (
        f"{checked.count('pass')} passed, {checked.count('fail')} failed,"
        f" {checked.count('skip')} skipped"
    )


def _line(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
