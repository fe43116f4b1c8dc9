"""The log of an application: set up in one line, for structlog and for the standard library.

    tonnage.setup_logging()
    log = tonnage.get_logger(__name__)          # or structlog.get_logger(), logging.getLogger()
    log.info("order placed", order_id=17)

In production: JSON on stdout from ``warning`` on, and never a file. In development: text from
``info`` on, and the same in files that are rotated. Each line has its time (UTC), level, logger and
message, the request's id where there is one, and its fields; secrets are hidden.

Promises that no request waits for stdout, and that memory stays bounded, whatever becomes of it:
see :mod:`tonnage.logs.outlet`. Tonnage's own log is another one, on stderr
(:mod:`tonnage.ops.logging`). Does not send lines anywhere else.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tonnage.checks import read, texts, whole
from tonnage.errors import ConfigError
from tonnage.logs.lines import Lines
from tonnage.logs.masking import Mask
from tonnage.logs.outlet import LogStatistics, Outlet
from tonnage.logs.settings import current
from tonnage.options import OPTIONS
from tonnage.units import parse_bytes

if TYPE_CHECKING:
    from tonnage.logs.rotation import RotatedFile

_STDOUT: Final = 1
_FILE_NAME: Final = "app.log"
_LEAST_FILE_BYTES: Final = 4096

_outlet: Outlet | None = None


def setup_logging(
    *,
    environment: str | None = None,
    level: str | None = None,
    directory: str | os.PathLike[str] = "logs",
    file_bytes: str | int = "5M",
    files_kept: int = 2,
    mask: Collection[str] = (),
) -> None:
    """Set up the log of this application; called again, it replaces what it did before.

    The root logger's own handlers for streams (those of ``logging.basicConfig``) are replaced,
    others stay. structlog is configured where it is installed.

    Args:
        environment: ``"production"`` or ``"development"``; by default what ``--env`` or
            TONNAGE_ENV says.
        level: the least level that is logged; by default what LOG_LEVEL says, else ``"warning"`` in
            production and ``"info"`` in development.
        directory: where the files are, in development.
        file_bytes: how large each of them may become.
        files_kept: how many there are, the present one included; 0: none at all.
        mask: parts of further keys whose values are hidden, besides
            :data:`~tonnage.logs.masking.SECRET_WORDS`.

    Raises:
        ConfigError: one of them makes no sense.
    """
    global _outlet  # one for a process
    told = current()
    environment = _one_of("env", "environment", environment) or told.environment
    is_production = environment == "production"
    level = _one_of("log_level", "level", level) or told.level
    number = logging.getLevelNamesMapping()[
        (level or ("warning" if is_production else "info")).upper()
    ]
    colored = not is_production and os.isatty(_STDOUT) and not os.environ.get("NO_COLOR")
    lines = Lines(as_json=is_production, mask=Mask(texts("mask", mask)), is_colored=colored)
    file = _file(Path(directory), file_bytes, whole("files_kept", files_kept, 0))
    if _outlet is not None:
        _outlet.close()
    _outlet = Outlet(_STDOUT, lines.notice, None if is_production else file)
    _configure_root(Handler(lines, _outlet), number)
    if importlib.util.find_spec("structlog") is not None:
        from tonnage.logs import structured

        structured.configure(lines, _current_outlet, number)


def get_logger(name: str | None = None, **fields: Any) -> Any:
    """Return structlog's logger called *name*, for example ``__name__``, with *fields* bound.

    Raises:
        ConfigError: structlog is not installed.
    """
    try:
        import structlog
    except ImportError as error:
        raise ConfigError(
            "get_logger needs structlog: pip install 'tonnage[logs]', or use logging.getLogger,"
            " whose lines go the same way"
        ) from error
    return structlog.get_logger(*filter(None, (name,)), **fields)


def log_statistics() -> LogStatistics:
    """Return how many lines this process has logged, written and dropped.

    Raises:
        ConfigError: the log is not set up.
    """
    return _current_outlet().statistics()


def statistics_of_process() -> LogStatistics | None:
    """Return the same; None: the log is not set up."""
    return None if _outlet is None else _outlet.statistics()


class Handler(logging.Handler):
    """The standard library's records on the way of all lines."""

    def __init__(self, lines: Lines, outlet: Outlet) -> None:
        super().__init__()
        self._lines = lines
        self._outlet = outlet

    def emit(self, record: logging.LogRecord) -> None:
        """Have *record* written; one that cannot be formatted is named in its place."""
        line = self._lines.of_record(record)
        self._outlet.put(line, is_serious=record.levelno >= logging.ERROR)

    def flush(self) -> None:
        """Wait until lines are out, for a second at most."""
        self._outlet.flush()

    def close(self) -> None:
        """Drop what is not out, and say how much that is: Python calls this when it ends."""
        dropped = self._outlet.close(0.0)
        if dropped:
            logging.getLogger("tonnage.logs").warning(
                "%d lines of the application's log were not written: nobody read them", dropped
            )
        super().close()


def _current_outlet() -> Outlet:
    if _outlet is None:
        raise ConfigError("the log is not set up: call tonnage.setup_logging() first")
    return _outlet


def _configure_root(handler: Handler, level: int) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, Handler) or type(old) is logging.StreamHandler:
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


def _file(directory: Path, file_bytes: str | int, files_kept: int) -> RotatedFile | None:
    size_bytes = read("file_bytes", file_bytes, parse_bytes)
    if size_bytes < _LEAST_FILE_BYTES:
        raise ConfigError(f"file_bytes={file_bytes!r} is too small: write a size such as 5M")
    if not files_kept:
        return None
    from tonnage.logs.rotation import RotatedFile

    path = directory.absolute() / _FILE_NAME
    return RotatedFile(path, file_bytes=size_bytes, files_kept=files_kept)


def _one_of(option: str, name: str, given: str | None) -> str | None:
    if given is None:
        return None
    kind = next(each for each in OPTIONS if each.name == option).kind
    try:
        return str(kind.parse(given))
    except (ConfigError, AttributeError):
        raise ConfigError(f"{name}={given!r} makes no sense: write {kind.expected}") from None


def _after_fork() -> None:
    if _outlet is not None:
        _outlet.begin_anew()


os.register_at_fork(after_in_child=_after_fork)
