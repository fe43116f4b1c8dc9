"""What the jobs of these tests do; at module level, as jobs have to be."""

from __future__ import annotations

import os
import signal
import threading
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


class LoadedWhere:
    """Loaded, it is whether that was in the main thread; as large as wanted."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes

    def __reduce__(self) -> tuple[object, ...]:
        return _is_main_thread, (b"x" * self._size_bytes,)


def _is_main_thread(_: bytes) -> bool:
    return threading.current_thread() is threading.main_thread()


def loaded_where(size_bytes: int) -> LoadedWhere:
    """Return what tells where it is loaded."""
    return LoadedWhere(size_bytes)


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
