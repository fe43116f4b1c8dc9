"""The command ``tonnage otel``: a running server's metrics, sent on by OpenTelemetry's protocol.

Runs until it is told to stop. What it does is in :mod:`tonnage.commands.otel`, which is imported
when it runs.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Final

from tonnage.errors import ConfigError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_NOTE: Final = (
    "Where to and how often is told by OpenTelemetry's own variables: OTEL_EXPORTER_OTLP_ENDPOINT "
    "(default: http://localhost:4318), OTEL_EXPORTER_OTLP_HEADERS, OTEL_METRIC_EXPORT_INTERVAL in "
    "milliseconds (default: 60000), OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES. "
    "Exit status: 0 told to stop, or sent once; 1 with --once, not sent; 2 a mistake."
)

_TO_STOP: Final = (signal.SIGTERM, signal.SIGINT)
# How soon it is seen that the thread has ended by itself, of an error that it has told.
_LOOK_SECONDS: Final = 1.0


def carry_out(arguments: argparse.Namespace) -> int:
    """Send metrics until told to stop; return the exit status.

    Raises:
        ActionError: there is no server, or with ``--once`` it could not be done.
        ConfigError: something is missing or makes no sense.
    """
    every_seconds = _interval_seconds()
    read = _reader(arguments)
    try:
        from tonnage.commands.otel.sending import Sending
    except ModuleNotFoundError as error:
        raise ConfigError(f"this needs: pip install 'tonnage[otel]' ({error})") from None
    if not arguments.once:
        # They wait to be asked for (_until_told), in all threads that begin from now on.
        signal.pthread_sigmask(signal.SIG_BLOCK, _TO_STOP)
    logging.basicConfig(format="tonnage: %(levelname)s: %(message)s")
    sending = Sending(read)
    try:
        if arguments.once:
            sending.once()
            return 0
        return _until_told(lambda: sending.until_stopped(every_seconds))
    finally:
        sending.stop()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command can be told."""
    from tonnage.cli.control import add_choice

    parser.epilog = _NOTE
    parser.add_argument("--once", action="store_true", help="send once, and end")
    parser.add_argument(
        "--url",
        help="read https://shop.example/metrics, with TONNAGE_ADMIN_TOKEN (default: the control "
        "socket of a server on this machine)",
    )
    add_choice(parser)


def _until_told(send: Callable[[], None]) -> int:
    """Have a thread *send* until there is a signal; return 1 if it has ended before.

    Not in a handler of the signal: what stops a sending takes locks, and the handler would wait for
    one that is held by the very code that it interrupts.
    """
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    while thread.is_alive():
        if signal.sigtimedwait(_TO_STOP, _LOOK_SECONDS) is not None:
            return 0
    return 1


def _reader(arguments: argparse.Namespace) -> Callable[[], str]:
    from tonnage.cli.client import Client, ServerChoice, chosen, find_server

    wanted = chosen(arguments)
    if arguments.url is not None:
        if wanted != ServerChoice():
            raise UsageError("--url goes with no other server: leave the others out")
        from tonnage.commands.otel.reading import by_url

        return by_url(arguments.url, os.environ.get("TONNAGE_ADMIN_TOKEN"))
    from tonnage.ops.places import METRICS

    client = Client(find_server(wanted, os.environ))
    return lambda: client.ask("GET", METRICS).decode(errors="replace")


def _interval_seconds() -> float:
    text = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or "60000"
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 86_400_000):
        raise ConfigError(
            f"OTEL_METRIC_EXPORT_INTERVAL={text[:20]!r} makes no sense: write milliseconds"
        )
    return int(text) / 1000
