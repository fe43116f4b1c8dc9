"""What the jobs of these tests do; at module level, as jobs have to be."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path


def add(first: int, second: int) -> int:
    """Return a sum."""
    return first + second


def where() -> tuple[int, int]:
    """Return the process of the job and its parent."""
    return os.getpid(), os.getppid()


def where_of(text: str) -> tuple[str, int]:
    """Return *text* and the job's parent."""
    return text, os.getppid()


def note_and_rest_at_first(path: Path) -> tuple[int, int]:
    """Take long when it is done for the first time; return how often that was, and its parent."""
    number = note(path)
    time.sleep(60 if number == 1 else 0)
    return number, os.getppid()


def note_and_refuse(path: Path, text: str) -> None:
    """Write a line to *path*, and raise an error of the function's own."""
    note(path)
    raise ValueError(text)


def repeat(piece: bytes, times: int) -> bytes:
    """Return something large, of something that may be large."""
    return piece * times


def crash() -> None:
    """Die as a bad library does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hoard(size_bytes: int) -> int:
    """Take memory."""
    return len(b"x" * size_bytes)


def rest(seconds: float) -> str:
    """Do nothing."""
    time.sleep(seconds)
    return "rested"


def note(path: Path, seconds: float = 0.0) -> int:
    """Write a line to *path*, so that it can be seen how often this was done; return its number."""
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return len(path.read_text().splitlines())


def steps(count: int) -> Iterator[int]:
    """Yield numbers."""
    yield from range(count)


def steps_for_ever(path: Path) -> Iterator[int]:
    """Yield the process of the job for ever; how often, is written to *path*."""
    number = 0
    while True:
        number += 1
        path.write_text(str(number))
        yield os.getpid()
