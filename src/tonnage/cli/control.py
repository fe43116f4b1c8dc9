"""The commands for a running server: ``status``, ``top``, ``logs``, ``reclaim`` and others.

Each asks the server (:mod:`tonnage.cli.client`), waits for the result where there is one to wait
for, and prints it: for people, or the server's own JSON with ``--json``. The reports alone can be
had without a server (:mod:`tonnage.cli.reports`). Nothing is decided here; what the server does is
told in :mod:`tonnage.server.actions`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from tonnage.cli import logs, recycle, top
from tonnage.errors import ActionError, UsageError
from tonnage.logs.texts import printable
from tonnage.units import format_bytes

if TYPE_CHECKING:
    import argparse

    from tonnage.cli.client import Client, ServerChoice
    from tonnage.cli.reports import Reports

#: The server waits half as long for a worker that is stuck, and then says who has not answered.
RECLAIM_SECONDS: Final = 10.0
#: What the end of a trace may take beyond its own time: two snapshots are compared.
REPORT_SECONDS: Final = 30.0
_STEP_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Page:
    """Where to print, and in which form."""

    out: TextIO
    as_json: bool

    def show(self, body: Any, text: str) -> int:
        """Print *body* as JSON, or else *text*; return exit status 0."""
        if self.as_json:
            json.dump(body, self.out, indent=2)
            self.out.write("\n")
        else:
            # Reports quote paths that clients sent.
            self.out.write(printable(text, kept="\n\t").rstrip("\n") + "\n")
        return 0


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with: the server, where to print, and how to wait."""

    client: Client
    out: TextIO
    progress: TextIO
    as_json: bool
    clock: Callable[[], float] = field(default=time.monotonic)
    pause: Callable[[float], None] = field(default=time.sleep)

    @property
    def page(self) -> Page:
        """Where to print."""
        return Page(self.out, self.as_json)

    def show(self, body: Any, text: str) -> int:
        """Print *body* as JSON, or else *text*; return exit status 0."""
        return self.page.show(body, text)

    def await_end(self, target: str, what: str, within_seconds: float) -> dict[str, Any]:
        """Return what *target* answers as soon as its state is not ``running`` any more.

        Raises:
            ActionError: it still was *within_seconds*.
        """

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.client.get(target)
            return None if found.get("state") == "running" else found

        return self.await_it(ended, what, within_seconds)

    def await_it(
        self, look: Callable[[], dict[str, Any] | None], what: str, within_seconds: float
    ) -> dict[str, Any]:
        """Return what *look* finds as soon as it does.

        Raises:
            ActionError: it found nothing *within_seconds*.
        """
        begun = self.clock()
        watched = self.progress.isatty()
        try:
            while True:
                found = look()
                if found is not None:
                    return found
                waited = self.clock() - begun
                if waited >= within_seconds:
                    raise ActionError(
                        f"{what} has not ended within {within_seconds:g} s: a worker may be stuck "
                        "in a blocking call; `tonnage status` shows it as STUCK"
                    )
                if watched:
                    self.progress.write(f"\r{what}: {waited:.0f} s")
                    self.progress.flush()
                self.pause(_STEP_SECONDS)
        finally:
            if watched:
                self.progress.write("\r\x1b[K")
                self.progress.flush()


def carry_out(arguments: argparse.Namespace) -> int:
    """Carry out the command in *arguments* and return exit status 0.

    Raises:
        ActionError: the server refuses, cannot be reached, or does not get done.
        UsageError: it is not clear which server is meant, or what.
    """
    # Imported by these commands only: http.client brings the mail parser and OpenSSL.
    from tonnage.cli.client import Client, chosen, find_server

    wanted = chosen(arguments)
    if arguments.command == "postmortem":
        reports = _kept_reports(arguments, wanted, os.environ)
        if reports is not None:
            return _show_report(arguments, reports, Page(sys.stdout, arguments.json))
    client = Client(find_server(wanted, os.environ))
    desk = Desk(client, sys.stdout, sys.stderr, arguments.json)
    return COMMANDS[arguments.command].run(arguments, desk)


def _status(arguments: argparse.Namespace, desk: Desk) -> int:
    from tonnage.cli.status import told_status

    found = desk.client.get("/status")
    return desk.show(found, told_status(found))


def _reclaim(arguments: argparse.Namespace, desk: Desk) -> int:
    desk.client.post("/reclaim")
    found = desk.await_end("/reclaim", "giving memory back", RECLAIM_SECONDS)
    return desk.show(found, _told_reclaim(found))


def _told_reclaim(found: Mapping[str, Any]) -> str:
    workers = found.get("workers", [])
    lines = [f"{format_bytes(found.get('freed_bytes', 0))} came back from {len(workers)} worker(s)"]
    rows = [(str(name), freed) for name, freed in found.get("by", {}).items()]
    rows += [(f"worker {each.get('worker')}", each.get("freed_bytes", 0)) for each in workers]
    width = max((len(name) for name, _ in rows), default=0)
    lines += [f"  {name:{width}}  {format_bytes(freed)}" for name, freed in rows]
    if silent := found.get("unanswered"):
        lines.append(
            f"no answer from worker {', '.join(map(str, silent))}: perhaps stuck in a blocking"
            " call; `tonnage status` shows it"
        )
    return "\n".join(lines)


def _cache(arguments: argparse.Namespace, desk: Desk) -> int:
    found = desk.client.post("/cache/clear" + query(name=arguments.name))
    return desk.show(found, str(found.get("detail")))


def _leaks(arguments: argparse.Namespace, desk: Desk) -> int:
    asked = query(seconds=arguments.seconds, worker=arguments.worker)
    begun = desk.client.post("/leaks" + asked)
    within_seconds = float(begun["seconds"]) + REPORT_SECONDS
    found = desk.await_end("/leaks", "tracing allocations", within_seconds)
    if found.get("state") != "done":
        why = found.get("detail") or "the worker has ended meanwhile; see the server's log"
        raise ActionError(f"the trace has no report: {why}")
    return desk.show(found, str(found.get("text")))


def _postmortem(arguments: argparse.Namespace, desk: Desk) -> int:
    from tonnage.cli.reports import RunningReports

    return _show_report(arguments, RunningReports(desk.client), desk.page)


def _kept_reports(
    arguments: argparse.Namespace, wanted: ServerChoice, environ: Mapping[str, str]
) -> Reports | None:
    """Return the reports on disk, where these are meant; None where a server is to be asked."""
    from tonnage.cli.client import is_running
    from tonnage.cli.reports import in_directory, left_behind

    if arguments.report_dir is not None:
        return in_directory(Path(arguments.report_dir))
    return None if is_running(wanted, environ) else left_behind(wanted, environ)


def _show_report(arguments: argparse.Namespace, reports: Reports, page: Page) -> int:
    name = arguments.name
    if name is None:
        listing = reports.listing()
        own = [report for report in listing if report.get("is_own", True)]
        if arguments.list:
            return page.show(listing, _told_reports(listing))
        if not own:
            return page.show(None, _told_reports([]) + _told_others(listing))
        name = own[0]["name"]
    elif arguments.list:
        raise UsageError("--list shows all reports: leave the name away")
    if page.as_json:
        return page.show(reports.body(name), "")
    return page.show(None, reports.text(name))


def _told_reports(reports: list[dict[str, Any]]) -> str:
    if not reports:
        return "no reports: no worker has died, and no request has run out of memory"
    width = max(len(report["name"]) for report in reports)
    return "\n".join(f"{report['name']:{width}}  {_told_report(report)}" for report in reports)


def _told_report(report: dict[str, Any]) -> str:
    told = str(report.get("summary") or report.get("cause"))
    return told if report.get("is_own", True) else f"{told} (of {report['application']})"


def _told_others(reports: list[dict[str, Any]]) -> str:
    if not reports:
        return ""
    return f"; on other applications there are {len(reports)}: --list shows them"


def query(**values: object) -> str:
    """Return the query that says *values*, but for those that are None."""
    from urllib.parse import urlencode

    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


# The commands' arguments.


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the arguments of its own, what does it, and what JSON it has."""

    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Desk], int]
    json: str = "print the server's answer as JSON"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command can be told that *parser* is for."""
    command = COMMANDS[parser.prog.removeprefix("tonnage ")]
    parser.epilog = "Exit status: 0 done, 1 refused or not reachable, 2 a mistake in the arguments."
    command.arguments(parser)
    parser.add_argument("--json", action="store_true", help=command.json)
    add_choice(parser)


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add what says which server is meant."""
    group = parser.add_argument_group(
        "which server", "Needed only if several servers of this user are running."
    )
    group.add_argument("--host", help="the address that it listens on")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--port", type=int, help="the port that it listens on")
    one.add_argument("--uds", metavar="FILE", help="the Unix socket that it listens on")
    one.add_argument("--control", metavar="PATH", help="its control socket, printed when it starts")


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _cache_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["clear"], help="what to do with it: empty it")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the cache (default: all)")


def _leaks_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", metavar="TIME", help="how long to trace (default: 10)")
    parser.add_argument(
        "--worker",
        type=int,
        metavar="N",
        help="the worker's index (default: the one that grows most)",
    )


def _postmortem_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="the report (default: the newest)")
    parser.add_argument("--list", action="store_true", help="show which reports there are")
    parser.add_argument(
        "--report-dir",
        metavar="DIR",
        help="read them there, whether a server runs or not (default: ask the server; where none "
        "runs, TONNAGE_REPORT_DIR and what servers of this user have left)",
    )


COMMANDS: Final[Mapping[str, Command]] = {
    "status": Command(_no_arguments, _status),
    "top": Command(_no_arguments, top.carry_out, top.JSON),
    "logs": Command(logs.add_arguments, logs.carry_out, logs.JSON),
    "reclaim": Command(_no_arguments, _reclaim),
    "recycle": Command(recycle.add_arguments, recycle.carry_out),
    "cache": Command(_cache_arguments, _cache),
    "leaks": Command(_leaks_arguments, _leaks),
    "postmortem": Command(_postmortem_arguments, _postmortem),
}
