"""What is chosen in ``tonnage top``, and what a key does about it.

Pure: a key and the server's state give the next view, and what the server is to be asked for.
Whatever changes the server is asked about first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tonnage.commands.terminal.lists import NAMES, tables

if TYPE_CHECKING:
    from collections.abc import Mapping

_STEPS: Final = {
    "up": -1,
    "k": -1,
    "down": 1,
    "j": 1,
    "page_up": -10,
    "page_down": 10,
    "home": -(10**6),
    "end": 10**6,
}
_PAGES: Final = {"tab": 1, "right": 1, "backtab": -1, "left": -1}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the server is to be asked for, once it is confirmed.

    Attributes:
        target: the path, for POST.
        question: what to ask first.
    """

    target: str
    question: str


@dataclass(frozen=True, slots=True)
class View:
    """What is chosen.

    Attributes:
        focus: the list that keys are for.
        chosen: which row of it.
        asked: what is asked about, until it is answered.
        said: what came of the last action.
        is_over: whether somebody has quit.
    """

    focus: str = NAMES[0]
    chosen: int = 0
    asked: Wanted | None = None
    said: str = ""
    is_over: bool = False


def pressed(view: View, key: str, state: Mapping[str, Any]) -> tuple[View, Wanted | None]:
    """Return the view after *key*, and what the server is to do now.

    Args:
        view: what was chosen.
        key: a letter, or the name of a key, as :mod:`tonnage.commands.terminal.screen` has it.
        state: of the server, as it was drawn.
    """
    if view.asked is not None:
        return replace(view, asked=None), view.asked if key in ("y", "Y") else None
    view = replace(view, said="")
    # Not Escape: other keys begin with it, and the rest of one may come late.
    if key in ("q", "Q"):
        return replace(view, is_over=True), None
    if key in ("c", "C"):
        question = "Collect garbage and give memory back, in every worker?"
        return replace(view, asked=Wanted("/reclaim", question)), None
    if key in ("r", "R"):
        return _recycle(view, state), None
    if key in _PAGES:
        place = (NAMES.index(view.focus) + _PAGES[key]) % len(NAMES)
        return replace(view, focus=NAMES[place], chosen=0), None
    last = len(tables(state)[view.focus].rows) - 1
    return replace(view, chosen=max(0, min(view.chosen + _STEPS.get(key, 0), last))), None


def _recycle(view: View, state: Mapping[str, Any]) -> View:
    """Return the view that asks whether to replace the chosen worker, or else all."""
    rows = tables(state)["workers"].rows
    if view.focus != "workers" or not rows:
        return replace(view, asked=Wanted("/recycle", "Replace all workers, one after the other?"))
    index = rows[min(view.chosen, len(rows) - 1)].cells[0]
    return replace(view, asked=Wanted(f"/recycle?worker={index}", f"Replace worker {index}?"))
