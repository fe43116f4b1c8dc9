"""``tonnage logs``: asks a running server for its lines, and shows them as they come.

Promises that each line is shown once, and that what was overwritten before it could be asked for
is told of on stderr. Following ends with Ctrl-C, or with the server. Keeps nothing: of each answer
(:mod:`tonnage.ops.lines` has its bounds) what is shown is forgotten.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TextIO
from urllib.parse import urlencode

from tonnage.commands.lines.showing import as_json, told
from tonnage.errors import ActionError, UsageError
from tonnage.ops.lines import MOST_LINES, PATH

#: How often a server is asked for what came since.
FOLLOW_SECONDS: Final = 0.5
#: A search ends after so many answers: more than the rings of 64 workers fill.
MOST_ANSWERS: Final = 256

# What no server has said: it begins with the oldest line that it has.
_OLDEST: Final = "0~"

Ask = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """Which lines are wanted.

    Attributes:
        lines: how many of the last ones.
        follow: whether to go on as lines come.
        level: the least level; None: all.
        worker: whose lines are meant: a worker's index, ``supervisor``, ``zygote``; None: all.
        pattern: what a line must match somewhere, as it is shown; None: all.
    """

    lines: int
    follow: bool = False
    level: str | None = None
    worker: str | None = None
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Paper:
    """Where lines go, and in which form."""

    out: TextIO
    problems: TextIO
    as_json: bool
    is_colored: bool

    def text(self, line: Mapping[str, Any], *, is_colored: bool = False) -> str:
        """Return *line* as it is shown."""
        return as_json(line) if self.as_json else told(line, is_colored=is_colored)

    def show(self, line: Mapping[str, Any]) -> None:
        """Print *line*."""
        self.out.write(self.text(line, is_colored=self.is_colored) + "\n")


def pattern_of(text: str | None) -> re.Pattern[str] | None:
    """Return the regular expression *text*, which has no effect where it is None.

    Raises:
        UsageError: it is none.
    """
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UsageError(f"--grep {text!r} is no regular expression: {error}") from error


def show_lines(wish: Wish, ask: Ask, paper: Paper, pause: Callable[[float], None]) -> int:
    """Show the lines that *wish* is for, and return exit status 0.

    Args:
        wish: which lines, and whether to follow.
        ask: asks the server for a path, and returns the JSON of its answer.
        paper: where they are shown.
        pause: waits for so many seconds.

    Raises:
        ActionError: the server does not answer the first time.
        UsageError: it says that the question makes no sense.
    """

    def matches(line: Mapping[str, Any]) -> bool:
        # Without colours, which nobody looks for.
        return wish.pattern is None or wish.pattern.search(paper.text(line)) is not None

    answer = ask(_path(wish))
    # Of none wanted as well: what is asked for next is behind the last line.
    lines, after = answer["lines"], answer["next"]
    search = None
    if wish.pattern is not None and wish.lines and lines:
        search = _Search(wish, ask, lines[-1]["time"])
        lines = search.lines()
    last: deque[Any] = deque(filter(matches, lines), maxlen=wish.lines)
    if search is not None:
        after = search.after
        if search.cut_short:
            paper.problems.write(f"tonnage: {search.cut_short}\n")
    for line in last:
        paper.show(line)
    paper.out.flush()
    if wish.follow:
        for further in _further(wish, ask, after, pause):
            if further["missed"]:
                paper.problems.write(f"tonnage: {further['missed']} line(s) came too fast\n")
            for line in filter(matches, further["lines"]):
                paper.show(line)
            paper.out.flush()
    return 0


class _Search:
    """All lines that are kept, from the oldest one on.

    Expressions are looked for here and not in the server, as one can be made that takes for ever.
    """

    def __init__(self, wish: Wish, ask: Ask, until_seconds: float) -> None:
        """Begin; lines that are newer than *until_seconds* need not be found."""
        self._wish, self._ask, self._until = wish, ask, until_seconds
        self.after = _OLDEST
        #: Why some lines were not looked at; empty: all were.
        self.cut_short = ""

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """Yield them, answer by answer."""
        missed = 0
        for _ in range(MOST_ANSWERS):
            answer = self._ask(_path(self._wish, self.after))
            missed += answer["missed"]
            self.after = answer["next"]
            yield from answer["lines"]
            if not answer["lines"] or answer["lines"][-1]["time"] >= self._until:
                break
        else:
            self.cut_short = f"the search was cut short after {MOST_ANSWERS} answers"
        if missed:
            self.cut_short = f"{missed} lines were overwritten before they could be searched"


def _further(
    wish: Wish, ask: Ask, after: str, pause: Callable[[float], None]
) -> Iterator[Mapping[str, Any]]:
    """Yield answer after answer, until the server is gone."""
    while True:
        try:
            answer = ask(_path(wish, after))
        except ActionError:
            return
        yield answer
        if len(answer["lines"]) < MOST_LINES:
            pause(FOLLOW_SECONDS)
        after = answer["next"]


def _path(wish: Wish, after: str | None = None) -> str:
    # Where something is looked for, the newest line tells when to end.
    first = wish.lines if wish.pattern is None else 1
    fields = {
        "limit": min(max(1, first), MOST_LINES) if after is None else MOST_LINES,
        "level": wish.level,
        "worker": wish.worker,
        "after": after,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    return f"{PATH}?{urlencode(given)}"
