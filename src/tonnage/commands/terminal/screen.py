"""The terminal that ``tonnage top`` draws on: by curses, which sends only what has changed.

    with screen(environ) as terminal:
        terminal.show(lines)
        key = terminal.key(1.0)

Promises that the terminal is given back as it was, however the block is left; SIGTERM leaves it
with exit status 143, as Ctrl-C does with a KeyboardInterrupt. NO_COLOR is respected. Only one at a
time, and only in the main thread, where signals arrive.
"""

from __future__ import annotations

import curses
import locale
import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from tonnage.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from tonnage.commands.terminal.frame import Line

# Ctrl-L: what another program has written over the frame goes.
_REDRAW: Final = 12
_KEYS: Final = {
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_LEFT: "left",
    curses.KEY_RIGHT: "right",
    curses.KEY_PPAGE: "page_up",
    curses.KEY_NPAGE: "page_down",
    curses.KEY_HOME: "home",
    curses.KEY_END: "end",
    curses.KEY_BTAB: "backtab",
    ord("\t"): "tab",
    27: "escape",
    curses.KEY_RESIZE: "resize",
    _REDRAW: "resize",
}

# Of each style its colour for 256 and for 8 colours; those of the tank are backgrounds.
_FOREGROUNDS: Final = {
    "ok": (71, curses.COLOR_GREEN),
    "warning": (178, curses.COLOR_YELLOW),
    "critical": (203, curses.COLOR_RED),
    "exhausted": (197, curses.COLOR_MAGENTA),
}
_BACKGROUNDS: Final = {
    "supervisor": (60, curses.COLOR_BLUE),
    "zygote": (67, curses.COLOR_CYAN),
    "workers_shared": (73, curses.COLOR_GREEN),
    "workers_own": (172, curses.COLOR_YELLOW),
    "jobs": (133, curses.COLOR_MAGENTA),
    "unexplained": (131, curses.COLOR_RED),
    "cache": (240, curses.COLOR_WHITE),
}
_PLAIN: Final = {
    "plain": curses.A_NORMAL,
    "dim": curses.A_DIM,
    "bold": curses.A_BOLD,
    "chosen": curses.A_REVERSE,
    "critical": curses.A_BOLD,
    "exhausted": curses.A_BOLD,
}


class Leaving:
    """What a signal has asked for: to leave, by an exception.

    Python drops what is raised while it finalizes something, and a signal can come at any moment;
    so it is kept, and raised again when the next key is waited for.
    """

    def __init__(self) -> None:
        self._wish: type[BaseException] | None = None

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Leave on SIGTERM and SIGINT."""
        self._wish = KeyboardInterrupt if number == signal.SIGINT else SystemExit
        self.leave()

    def leave(self) -> None:
        """Raise what was asked for, if anything was."""
        if self._wish is SystemExit:
            raise SystemExit(128 + signal.SIGTERM)
        if self._wish is not None:
            raise self._wish


class Screen:
    """A terminal that is ours for a while."""

    def __init__(self, window: curses.window, leaving: Leaving, *, is_colored: bool) -> None:
        self._window = window
        self._leaving = leaving
        self.is_colored: Final = is_colored
        self._looks = dict(_PLAIN)
        if is_colored:
            self._looks |= _colors()

    @property
    def size(self) -> tuple[int, int]:
        """The width and the height, in cells."""
        height, width = self._window.getmaxyx()
        return width, height

    def show(self, lines: list[Line]) -> None:
        """Show *lines*; what lies outside is not seen."""
        self._window.erase()
        for row, spans in enumerate(lines):
            with suppress(curses.error):  # the last cell of all, and a terminal just made smaller
                self._window.move(row, 0)
                for span in spans:
                    look = self._looks.get(span.style, curses.A_NORMAL)
                    self._window.addstr(span.text, look)
        self._window.refresh()

    def key(self, within_seconds: float) -> str | None:
        """Return the key that is pressed next, by its letter or name; None: none in that time."""
        self._window.timeout(max(0, round(within_seconds * 1000)))
        code = self._window.getch()
        self._leaving.leave()
        if code == -1:
            return None
        if code == _REDRAW:
            self._window.clearok(True)
        return _KEYS.get(code) or (chr(code) if 32 <= code < 127 else "")


@contextmanager
def screen(environ: Mapping[str, str]) -> Iterator[Screen]:
    """Take the terminal, and give it back.

    Raises:
        UsageError: it is not known here, or can do too little.
    """
    # For what is not ASCII; and so that Escape is told from the keys that begin with it at once.
    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    os.environ.setdefault("ESCDELAY", "25")
    leaving = Leaving()
    former = {
        number: signal.signal(number, leaving.on_signal)
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        window = _begin(environ)
        try:
            yield Screen(
                window, leaving, is_colored=curses.has_colors() and not environ.get("NO_COLOR")
            )
        finally:
            _end(window)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _begin(environ: Mapping[str, str]) -> curses.window:
    try:
        curses.setupterm()
        window = curses.initscr()
    except curses.error as error:
        name = environ.get("TERM") or "none"
        raise UsageError(
            f"the terminal type {name} is not known here: try TERM=xterm tonnage top, or pipe it "
            f"for plain text ({error})"
        ) from error
    curses.noecho()
    curses.cbreak()
    window.keypad(True)
    with suppress(curses.error):
        curses.curs_set(0)
    with suppress(curses.error):
        curses.start_color()
        curses.use_default_colors()
    return window


def _end(window: curses.window) -> None:
    window.keypad(False)
    with suppress(curses.error):
        curses.curs_set(1)
    curses.nocbreak()
    curses.echo()
    curses.endwin()


def _colors() -> dict[str, int]:
    """Return how the styles with a colour look."""
    choice = 0 if curses.COLORS >= 256 else 1
    looks = {}
    pairs = [(name, colors[choice], -1) for name, colors in _FOREGROUNDS.items()]
    pairs += [(name, -1, colors[choice]) for name, colors in _BACKGROUNDS.items()]
    for number, (name, foreground, background) in enumerate(pairs, start=1):
        curses.init_pair(number, foreground, background)
        looks[name] = curses.color_pair(number)
    return {**looks, "exhausted": looks["exhausted"] | curses.A_BOLD}
