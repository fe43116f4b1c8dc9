"""The application is imported in a child process, looked at, measured, and gone again.

As ``tonnage run`` imports it, and as ``tonnage plan`` measures it, but once for both. What it
prints meanwhile goes to standard error. Bounded by the time that a start may take.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Never

from tonnage.budget.plan import AppSize
from tonnage.commands.checking import looking
from tonnage.commands.checking.facts import AppFacts
from tonnage.errors import TargetError, WorkerError
from tonnage.host.channel import Channel, Dialogue
from tonnage.host.descriptors import open_descriptors
from tonnage.host.forking import fork_into
from tonnage.host.forksafety import sockets_opened, why_not_fork
from tonnage.host.prctl import end_with_parent
from tonnage.host.processes import read_rollup
from tonnage.server.loader import check_target, load_or_tell
from tonnage.server.messages import Failed
from tonnage.server.zygote import import_all

if TYPE_CHECKING:
    from tonnage.settings import Settings

# A message has an end; so much of each is sent.
_MOST_TEXTS: Final = 20
_LONGEST_TEXT: Final = 150

_CACHES: Final = "tonnage.stores.cache"
_SPOOL: Final = "tonnage.stores.writer.spool"


@dataclass(frozen=True, slots=True)
class Shown:
    """The application is imported, and ready to be measured; most is as in :class:`AppFacts`."""

    seconds: float
    #: Pairs of name and bound in bytes.
    stores: list[tuple[str, int]]
    why_not_fork: str | None
    sockets: list[str]
    debugging: list[str]
    open_cors: str | None
    file_routes: list[str]
    has_own_limits: bool
    has_caches: bool
    has_spool: bool


FromChild = Shown | Failed

CHILDREN: Final[Dialogue[Never, FromChild]] = Dialogue(Never, FromChild)


def import_app(settings: Settings) -> AppFacts:
    """Import the application that *settings* name, and return what that shows.

    Raises:
        TargetError: the application was not found or is none.
        WorkerError: its own code failed, or took too long.
    """
    check_target(settings.app.target)
    inherited = open_descriptors()
    ours, theirs = CHILDREN.pair()
    kept = inherited | {theirs.fileno()}
    pid = fork_into(lambda: _show(settings, theirs, inherited), kept)
    theirs.close()
    try:
        return _received(ours, pid, settings.process.start_seconds)
    finally:
        ours.close()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _received(channel: Channel[Never, FromChild], pid: int, timeout_seconds: float) -> AppFacts:
    readable, _, _ = select.select([channel], [], [], timeout_seconds)
    if not readable:
        raise WorkerError(f"importing it took more than {timeout_seconds:g} s; see --start-seconds")
    try:
        received = channel.receive()
    except EOFError:
        raise WorkerError("the application ended the process while it was imported") from None
    assert received is not None, "the channel waits"
    shown, _ = received
    if isinstance(shown, Failed):
        raise (TargetError if shown.is_mistaken else WorkerError)(shown.error)
    rollup = read_rollup(pid)
    size = AppSize(
        zygote_bytes=rollup.pss_bytes,
        private_anon_bytes=rollup.pss_anon_bytes,
        worker_own_bytes=None,
        how="measured",
        seconds=shown.seconds,
        stores=tuple((name, size_bytes) for name, size_bytes in shown.stores),
    )
    return AppFacts(
        size,
        why_not_fork=shown.why_not_fork,
        sockets=tuple(shown.sockets),
        debugging=tuple(shown.debugging),
        open_cors=shown.open_cors,
        file_routes=tuple(shown.file_routes),
        has_own_limits=shown.has_own_limits,
        has_caches=shown.has_caches,
        has_spool=shown.has_spool,
    )


def _show(settings: Settings, channel: Channel[FromChild, Never], inherited: frozenset[int]) -> int:
    """Import, tell, and wait until it has been measured; in the child."""
    end_with_parent(signal.SIGKILL)
    # Standard output is for the findings.
    os.dup2(2, 1)
    for name, value in settings.env_file_variables.items():
        os.environ.setdefault(name, value)
    begun, known = time.perf_counter(), inherited | open_descriptors()
    loaded = load_or_tell(settings.app, channel.send, lambda: import_all(settings))
    if loaded is None:
        return 1
    seconds = time.perf_counter() - begun
    channel.send(_found(loaded.app, known, seconds))
    with suppress(EOFError):
        channel.receive()
    return 0


def _found(app: Any, known: frozenset[int], seconds: float) -> Shown:
    from tonnage.governor.consumers import registry

    return Shown(
        seconds=seconds,
        stores=_largest(registry.bounds()),
        why_not_fork=why_not_fork(),
        sockets=_short(sockets_opened(known)),
        debugging=_short(looking.debugging(app)),
        open_cors=looking.open_cors(app),
        file_routes=_short(looking.file_routes(app)),
        has_own_limits=looking.has_own_limits(app),
        has_caches=_CACHES in sys.modules,
        has_spool=_SPOOL in sys.modules,
    )


def _largest(stores: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the largest of *stores*, and the others as one: their sum is what counts."""
    ordered = sorted(stores, key=lambda store: -store[1])
    named = [(name[:_LONGEST_TEXT], size_bytes) for name, size_bytes in ordered[:_MOST_TEXTS]]
    others_bytes = sum(size_bytes for _, size_bytes in ordered[_MOST_TEXTS:])
    return [*named, ("others", others_bytes)] if others_bytes else named


def _short(texts: list[str]) -> list[str]:
    return [text[:_LONGEST_TEXT] for text in texts[:_MOST_TEXTS]]
