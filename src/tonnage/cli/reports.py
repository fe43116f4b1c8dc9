"""Reports for ``tonnage postmortem``: a running server's, or the directory of one that is gone.

Promises that a directory is only read. A server that runs is asked, since it alone knows where its
reports are; where none does, reports are looked for beside the control sockets of this user
(:func:`tonnage.server.control.control_directories`), where servers keep them unless told otherwise.
What a report says is :mod:`tonnage.server.postmortem.report`'s.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage.errors import ActionError
from tonnage.server.control import control_directories, is_private
from tonnage.server.postmortem.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tonnage.cli.client import Client, ServerChoice

SUFFIX: Final = ".reports"


class Reports(Protocol):
    """Where the reports are."""

    def listing(self) -> list[dict[str, Any]]:
        """Return what there is, newest first: ``name, time, worker, cause, summary``.

        Also ``application``, and ``is_own``: whether that is the one that is asked about.
        """

    def text(self, name: str) -> str:
        """Return the report *name* for people; raises ActionError if there is none."""

    def body(self, name: str) -> Any:
        """Return the report *name* as JSON; raises ActionError if there is none."""


class RunningReports:
    """The reports of a running server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def listing(self) -> list[dict[str, Any]]:
        """Return what there is, newest first."""
        found: list[dict[str, Any]] = self._client.get("/postmortems")["reports"]
        return found

    def text(self, name: str) -> str:
        """Return the report *name* for people."""
        return self._client.ask("GET", f"{_target(name)}.txt").decode(errors="replace")

    def body(self, name: str) -> Any:
        """Return the report *name* as JSON."""
        return self._client.get(f"{_target(name)}.json")


class ReportDirectories:
    """The reports in directories, of servers that need not run."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = directories
        # Nothing is ever put there, so how many are to be kept does not matter.
        self._shelves = [Shelf(each, 0, minor=frozenset()) for each in directories]

    def listing(self) -> list[dict[str, Any]]:
        """Return what there is, newest first."""
        here = f" in {Path.cwd()}"
        found = [
            asdict(listed) | {"is_own": not listed.application or listed.application.endswith(here)}
            for shelf in self._shelves
            for listed in shelf.listing()
        ]
        if not any(each["is_own"] for each in found):
            # Nobody says which one is meant, and it need not be started from where it is.
            found = [each | {"is_own": True} for each in found]
        # Of one directory they are in order already, and stay so.
        return sorted(found, key=lambda each: str(each["time"]), reverse=True)

    def text(self, name: str) -> str:
        """Return the report *name* for people."""
        return str(self._read(name)["text"])

    def body(self, name: str) -> Any:
        """Return the report *name* as JSON."""
        return {key: value for key, value in self._read(name).items() if key != "text"}

    def _read(self, name: str) -> dict[str, Any]:
        for shelf in self._shelves:
            report = shelf.read(name)
            if report is not None:
                return report
        where = ", ".join(map(str, self._directories))
        raise ActionError(
            f"there is no report of this name in {where}: --list shows those that are"
        )


def in_directory(directory: Path) -> ReportDirectories:
    """Return the reports in *directory*.

    Raises:
        ActionError: it cannot be read.
    """
    try:
        next(directory.iterdir(), None)
    except OSError as error:
        raise ActionError(f"cannot read {directory}: {error.strerror or error}") from error
    return ReportDirectories([directory])


def left_behind(wanted: ServerChoice, environ: Mapping[str, str]) -> ReportDirectories | None:
    """Return the reports of servers that are gone and can be *wanted*; None: there are none."""
    if wanted.control is not None:
        beside = Path(wanted.control).with_suffix(SUFFIX)
        return ReportDirectories([beside]) if beside.is_dir() else None
    named = environ.get("TONNAGE_REPORT_DIR")
    found = [Path(named)] if named and Path(named).is_dir() else []
    for directory in control_directories(environ):
        try:
            if is_private(directory):
                kept = sorted(directory.glob(f"*{SUFFIX}"))
                found += [each for each in kept if wanted.fits(each.stem)]
        except OSError:
            continue  # there is none, or it is not ours
    return ReportDirectories(found) if found else None


def _target(name: str) -> str:
    from urllib.parse import quote

    # Quoted, so that nothing in it can be taken for another part of the question.
    return "/postmortems/" + quote(name.removesuffix(".txt").removesuffix(".json"), safe="")
