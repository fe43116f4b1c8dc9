"""The command ``tonnage recycle``: replaces workers, and waits for that if it is told to.

How the server does it is in :mod:`tonnage.server.recycling`; a worker is known to be replaced once
its process is gone and all that are wanted are ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError, UsageError
from tonnage.units import parse_seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from tonnage.cli.control import Desk

#: Workers are replaced one after the other, and each finishes what it has begun.
_RECYCLE_TIME: Final = "120s"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command can be told."""
    parser.add_argument(
        "--worker", type=int, metavar="N", help="the worker's index (default: all, in turn)"
    )
    parser.add_argument(
        "--wait", action="store_true", help="wait until they are replaced: exit status 1 if not"
    )
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        default=_RECYCLE_TIME,
        help=f"how long to wait for that (default: {_RECYCLE_TIME})",
    )


def carry_out(arguments: argparse.Namespace, desk: Desk) -> int:
    """Begin to replace the workers that *arguments* name, wait if told to, and return 0.

    Raises:
        ActionError: the server refuses, or they are not replaced in time.
        UsageError: the arguments make no sense.
    """
    from tonnage.cli.control import query

    seconds = _timeout(arguments.timeout)
    old = _pids(desk.client.get("/status"), arguments.worker) if arguments.wait else set()
    found = desk.client.post("/recycle" + query(worker=arguments.worker))
    if arguments.wait:
        begun = desk.clock()
        desk.await_it(lambda: _replaced(desk.client.get("/status"), old), "replacing", seconds)
        took_seconds = round(desk.clock() - begun, 1)
        found["detail"] = f"{len(old)} worker(s) were replaced in {took_seconds} s"
        found["seconds"] = took_seconds
    return desk.show(found, str(found.get("detail")))


def _timeout(text: str) -> float:
    try:
        return parse_seconds(text)
    except ConfigError as error:
        raise UsageError(f"--timeout: {error}") from error


def _pids(status: Mapping[str, Any], worker: int | None) -> set[int]:
    """Return the processes that are to be replaced."""
    return {each["pid"] for each in status["workers"] if worker in (None, each["index"])}


def _replaced(status: dict[str, Any], old: set[int]) -> dict[str, Any] | None:
    """Return *status* if it has none of the *old* processes any more, and all successors."""
    is_complete = status["ready_workers"] >= status["desired_workers"]
    return status if is_complete and not old & _pids(status, None) else None
