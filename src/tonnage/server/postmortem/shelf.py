"""The directory of reports: each is a pair of files, ``NAME.json`` and ``NAME.txt``.

Promises: a report is there whole or not at all, also if this process is killed meanwhile (temporary
name, rename; the JSON last, and only what has its JSON is listed); the directory that is made has
mode 0700 and the files 0600, since they hold clients' addresses; at most *keep* reports stay, and
nothing but reports is ever removed. Names are checked, so that no name leads out of the directory.

Does not wait for the disk: 0.6 ms into the kernel's memory, from where they outlive any process of
ours, SIGKILL included. What has not been written back when the machine itself fails is lost; fsync
would keep it, but took 1.5 ms more on an idle local disk, and takes seconds on one that others keep
busy, in which nobody would be braked. What is written is made elsewhere
(:mod:`tonnage.server.postmortem.report`), and when, too
(:mod:`tonnage.server.postmortem.blackbox`).
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

#: A file that is longer is none of ours.
LONGEST_BYTES: Final = 1024 * 1024
#: The first lines of a text are read to list a report.
_HEAD_BYTES: Final = 2048
#: The line of a text that names the application begins like this.
OF_APPLICATION: Final = "  application: "
# The end of a program that the application had started has no worker in its name.
_NAME: Final = re.compile(r"(\d{8}T\d{6}Z)-(?:worker(\d{1,3})|program)-([a-z-]+[a-z])(?:-\d{1,3})?")
_TIME: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Listed:
    """A report on the shelf, as its name and first lines tell of it."""

    name: str
    time: str
    #: None: it is on a program that the application had started.
    worker: int | None
    cause: str
    summary: str
    #: Which application it is on, and in which directory that is; empty: it does not say.
    application: str = ""


class Shelf:
    """The reports in one directory."""

    def __init__(self, directory: Path, keep: int, *, minor: frozenset[str]) -> None:
        """Keep reports in *directory*, which is made when the first one is written.

        Args:
            directory: where they are.
            keep: so many of the newest stay.
            minor: causes that may take half of the places at most, so that many small events do
                not push out the rare large ones.
        """
        self.directory = directory
        self._keep = keep
        self._minor = minor

    def put(
        self,
        report: dict[str, Any],
        text: str,
        *,
        at_seconds: float,
        worker: int | None,
        cause: str,
    ) -> Path:
        """Write *report* and its *text*, remove what is too old, and return the text's path.

        *worker*: on which it is; None: on a program.

        Raises:
            OSError: it could not be written; nothing of it is left behind.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        moment = datetime.fromtimestamp(at_seconds, UTC).strftime(_TIME)
        who = "program" if worker is None else f"worker{worker}"
        name = self._free_name(f"{moment}-{who}-{cause}")
        body = json.dumps({"name": name} | report, separators=(",", ":")).encode()
        written = self._path(name, "txt")
        self._write(written, text.encode("utf-8", "backslashreplace"))
        try:
            self._write(self._path(name, "json"), body + b"\n")
        except OSError:
            written.unlink(missing_ok=True)
            raise
        self._prune()
        return written

    def listing(self) -> list[Listed]:
        """Return the reports, the newest first."""
        return [self._listed(name) for name in reversed(self._names())]

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the report *name* with its ``text``; None if there is none of that name."""
        stem = name.removesuffix(".json").removesuffix(".txt")
        if not _NAME.fullmatch(stem):
            return None
        try:
            report = json.loads(_read(self._path(stem, "json"), LONGEST_BYTES))
            text = _read(self._path(stem, "txt"), LONGEST_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError, RecursionError):
            return None
        return report | {"name": stem, "text": text} if isinstance(report, dict) else None

    def _path(self, name: str, suffix: str) -> Path:
        return self.directory / f"{name}.{suffix}"

    def _free_name(self, wanted: str) -> str:
        """Return *wanted*, or with a number where a report of this second has it already."""
        taken = set(self._names())
        numbered = (f"{wanted}-{number}" for number in range(2, 1000))
        return next((name for name in (wanted, *numbered) if name not in taken), wanted)

    def _names(self) -> list[str]:
        """Return the names of the reports, the oldest first."""
        try:
            files = os.listdir(self.directory)
        except OSError:
            return []
        stems = (file.removesuffix(".json") for file in files if file.endswith(".json"))
        return sorted((stem for stem in stems if _NAME.fullmatch(stem)), key=_order)

    def _listed(self, name: str) -> Listed:
        moment, who, *_ = name.split("-")
        head = b""
        with suppress(OSError):
            head = _read(self._path(name, "txt"), _HEAD_BYTES)
        line, *others = head.decode("utf-8", "replace").split("\n")
        # The line begins with the time, which is told beside it.
        _, _, summary = line.partition(" UTC: ")
        named = (each for each in others if each.startswith(OF_APPLICATION))
        return Listed(
            name=name,
            time=_iso(moment),
            worker=None if who == "program" else int(who.removeprefix("worker")),
            cause=_cause(name),
            summary=summary or line,
            application=next(named, "").removeprefix(OF_APPLICATION),
        )

    def _write(self, path: Path, content: bytes) -> None:
        # One name for each process: what a crash left behind is overwritten, not gathered.
        temporary = self.directory / f".tonnage-{os.getpid()}.tmp"
        # A link of that name may lead anywhere; it is not followed.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(temporary, flags, 0o600)
            with open(fd, "wb", buffering=0):
                os.fchmod(fd, 0o600)
                _write_all(fd, content)
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise

    def _prune(self) -> None:
        names = self._names()
        minor = [name for name in names if _cause(name) in self._minor]
        surplus = max(0, len(names) - self._keep)
        going = minor[: min(surplus, max(0, len(minor) - self._keep // 2))]
        rest = [name for name in names if name not in going]
        going += rest[: surplus - len(going)]
        for name in going:
            for suffix in ("json", "txt"):
                # Another server that shares the directory may have been faster.
                with suppress(OSError):
                    self._path(name, suffix).unlink()


def _cause(name: str) -> str:
    matched = _NAME.fullmatch(name)
    return matched[3] if matched else ""


def _order(name: str) -> tuple[str, int, str]:
    """Sort by time, and within a second by the number that was added."""
    moment = name.partition("-")[0]
    number = name.rpartition("-")[2]
    return moment, int(number) if number.isdigit() else 1, name


def _iso(moment: str) -> str:
    date, time = moment[:8], moment[9:15]
    return f"{date[:4]}-{date[4:6]}-{date[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}+00:00"


def _read(path: Path, most_bytes: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with open(fd, "rb", buffering=0, closefd=False) as file:
            return file.read(most_bytes)
    finally:
        # Of a directory no file object is made, which would have closed it.
        os.close(fd)


def _write_all(fd: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
