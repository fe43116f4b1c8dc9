"""The garbage collector, which may come at any line and run whatever the garbage has to do yet."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import TraceFunction

SECONDS = 10.0


def hangs_at(file: str, leave: Callable[[], object], act: Callable[[], object]) -> list[int]:
    """Return at which line of *file* a thread hangs; none: it does not.

    The thread *leaves* some garbage and *acts*; the garbage is collected at the first line of
    *file* that this comes to; all of it again, with the second line, and so on.
    """
    lines: list[int] = []
    done = threading.Event()
    collect_at = 0

    def trace(frame: FrameType, event: str, arg: object) -> TraceFunction | None:
        if not frame.f_code.co_filename.endswith(file):
            return None
        if event == "line":
            lines.append(frame.f_lineno)
            if len(lines) == collect_at:
                gc.collect()
        return trace

    def run() -> None:
        nonlocal collect_at
        while collect_at <= len(lines):
            collect_at += 1
            lines.clear()
            leave()
            sys.settrace(trace)
            act()
            sys.settrace(None)
        gc.collect()
        done.set()

    gc.collect()
    # What other tests have left is not looked through at each line; nor by what comes after this
    # one, as conftest.py has it: it stays set aside.
    gc.freeze()
    gc.disable()
    try:
        threading.Thread(target=run, daemon=True).start()
        return [] if done.wait(SECONDS) else lines[collect_at - 1 : collect_at]
    finally:
        gc.enable()
