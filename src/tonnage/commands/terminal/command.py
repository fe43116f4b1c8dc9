"""``tonnage top``: asks the server once a second, draws what it says, and does what keys mean.

Keeps the last answers and nothing else. A server that does not answer is named at the foot of the
frame and asked again, so top outlives a restart. Where nobody watches, since the output is no
terminal, one frame is printed as plain text, of two looks: rates are what was counted in between.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

from tonnage.commands.terminal.draw import Canvas, Shown, everything, frame
from tonnage.commands.terminal.frame import plain
from tonnage.commands.terminal.view import View, Wanted, pressed
from tonnage.errors import TonnageError

if TYPE_CHECKING:
    from tonnage.commands.terminal.frame import Line

STATE: Final = "/tonnage/state"
HISTORY: Final = "/tonnage/history"
REFRESH_SECONDS: Final = 1.0
# The server notes a row every five seconds.
_HISTORY_SECONDS: Final = 5.0


class Server(Protocol):
    """Who is asked, on the control socket."""

    def get(self, target: str) -> Any:
        """Return what *target* answers.

        Raises:
            TonnageError: nothing that makes sense.
        """

    def post(self, target: str) -> Any:
        """Have *target* done, and return its answer; raises as :meth:`get`."""


def show(
    server: Server,
    out: TextIO,
    environ: Mapping[str, str],
    *,
    as_json: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """Show *server* until somebody quits, or once where nobody watches; return exit status 0.

    Args:
        server: who is asked.
        out: where it shows.
        environ: for the terminal; COLUMNS is how wide a frame in a file or a pipe may be.
        as_json: print what a frame is made of instead.
        sleep: waits so many seconds.

    Raises:
        ActionError: the server does not answer the first time.
        UsageError: the terminal is not known here.
    """
    if as_json:
        json.dump(_counted_state(server, sleep), out, indent=2)
        out.write("\n")
        return 0
    if not (out.isatty() and sys.stdin.isatty()):
        once = Shown(_counted_state(server, sleep), server.get(HISTORY))
        out.write(plain(everything(once, _width(environ))) + "\n")
        return 0
    from tonnage.commands.terminal.screen import screen

    first = Shown(server.get(STATE), server.get(HISTORY))
    with screen(environ) as terminal:
        Watch(server, terminal, first, is_ascii=_is_ascii(out)).run()
    return 0


def _counted_state(server: Server, sleep: Callable[[float], object]) -> Mapping[str, Any]:
    """Return the state with rates: they are what was counted between two looks.

    Where somebody else has looked just before, the first has them already.
    """
    state: Mapping[str, Any] = server.get(STATE)
    if all(route.get("per_second") is not None for route in state.get("routes", ())):
        return state
    sleep(REFRESH_SECONDS)
    again: Mapping[str, Any] = server.get(STATE)
    return again


def _width(environ: Mapping[str, str]) -> int | None:
    """Return the width that COLUMNS says; None: it says none, and lines may be as long as need."""
    told = environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else None


class Terminal(Protocol):
    """Where it is drawn; :class:`tonnage.commands.terminal.screen.Screen` is one."""

    @property
    def is_colored(self) -> bool:
        """Whether it shows colours."""

    @property
    def size(self) -> tuple[int, int]:
        """The width and the height, in cells."""

    def show(self, lines: list[Line]) -> None:
        """Show *lines*."""

    def key(self, within_seconds: float) -> str | None:
        """Return the key that is pressed next, by its name; None: none in that time."""


class Watch:
    """The live view: a terminal, the last answers, and what is chosen."""

    def __init__(
        self,
        server: Server,
        terminal: Terminal,
        first: Shown,
        *,
        is_ascii: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._terminal = terminal
        self._shown = first
        self._view = View()
        self._is_ascii = is_ascii
        self._clock = clock
        self._asked_seconds = self._history_seconds = clock()

    def run(self) -> None:
        """Show until somebody quits."""
        while not self._view.is_over:
            self._draw()
            waited = self._clock() - self._asked_seconds
            key = self._terminal.key(REFRESH_SECONDS - waited)
            if key == "resize":
                continue
            if key is not None:
                self._view, wanted = pressed(self._view, key, self._shown.state)
                if wanted is not None:
                    self._act(wanted)
            elif self._clock() - self._asked_seconds >= REFRESH_SECONDS:
                self._ask()

    def _draw(self) -> None:
        width, height = self._terminal.size
        canvas = Canvas(
            width, height, is_colored=self._terminal.is_colored, is_ascii=self._is_ascii
        )
        self._terminal.show(frame(self._shown, self._view, canvas))

    def _ask(self) -> None:
        self._asked_seconds = now = self._clock()
        try:
            state, history = self._server.get(STATE), self._shown.history
            if now - self._history_seconds >= _HISTORY_SECONDS:
                history, self._history_seconds = self._server.get(HISTORY), now
            self._shown = Shown(state, history)
        except TonnageError as error:
            self._shown = replace(self._shown, problem=str(error))

    def _act(self, wanted: Wanted) -> None:
        try:
            said = str(self._server.post(wanted.target).get("detail", "done"))
        except TonnageError as error:
            said = str(error)
        self._view = replace(self._view, said=said)
        self._ask()


def _is_ascii(out: TextIO) -> bool:
    return (out.encoding or "").lower().replace("-", "") != "utf8"
