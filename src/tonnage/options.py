"""The option table: every setting Tonnage has, written once.

Flags, environment variables, the ``[tool.tonnage]`` table of pyproject.toml, ``--help`` and the
reference page in the documentation all derive from `OPTIONS`. This module describes options and
says what makes sense as a value of each; :mod:`tonnage.config` finds the values.

To add an option: one entry here, one field of the same name in the record of its group in
:mod:`tonnage.config`, and ``make docs``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tonnage.errors import ConfigError
from tonnage.units import parse_bytes, parse_seconds, parse_threshold

TRUE_WORDS = ("true", "yes", "on", "1")
FALSE_WORDS = ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: how it is called in help, how text becomes it, and what to write.

    ``parse`` gets text from flags and variables, or a TOML value, and raises `ConfigError` or
    ValueError for nonsense; what the user then reads is made of ``expected``.
    """

    metavar: str
    parse: Callable[[str], object]
    expected: str


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its name, kind and default, and the places it can be set in.

    ``default`` is what a user would write, so that documentation and behaviour agree; None means
    unset, and ``default_note`` then says what happens. A secret is no flag, since every user of a
    machine can read the arguments of a process, and no message repeats it.
    """

    name: str
    group: str
    kind: Kind
    default: str | None
    help: str
    conventional: tuple[str, ...] = ()
    field: str = ""
    default_note: str = ""
    in_file: bool = True
    is_target: bool = False
    is_secret: bool = False

    @property
    def flag(self) -> str:
        """The option on the command line: ``--free-floor``."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> tuple[str, ...]:
        """The variables that set it, the first set one winning: ``TONNAGE_*``, then others."""
        return (f"TONNAGE_{self.name.upper()}", *self.conventional)

    @property
    def field_name(self) -> str:
        """The attribute of the settings record; it differs where a unit belongs into the name."""
        return self.field or self.name

    @property
    def is_switch(self) -> bool:
        """Whether it is true or false, so that the flag takes no value."""
        return self.kind is SWITCH


def _switch(text: str) -> bool:
    word = text.strip().lower()
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return word in TRUE_WORDS
    raise ConfigError(f"{text!r} is neither true nor false")


def _whole(least: int, most: int | None = None, metavar: str = "N") -> Kind:
    def parse(text: str) -> int:
        number = int(text)
        if number < least or (most is not None and number > most):
            raise ConfigError(f"{number} is out of range")
        return number

    expected = f"from {least} to {most}" if most is not None else f"of {least} or more"
    return Kind(metavar, parse, f"a whole number {expected}")


def _choice(*words: str, **also: str) -> Kind:
    """One of *words*, in any case; *also* maps further spellings to one of them."""

    def parse(text: str) -> str:
        word = also.get(text.strip().lower(), text.strip().lower())
        if word not in words:
            raise ConfigError(f"{text!r} is none of the choices")
        return word

    return Kind("{" + ",".join(words) + "}", parse, " or ".join((", ".join(words[:-1]), words[-1])))


def _duration(least_seconds: float) -> Kind:
    def parse(text: str) -> float:
        seconds = parse_seconds(text)
        if seconds < least_seconds:
            raise ConfigError(f"{text!r} is too short")
        return seconds

    least = f" of at least {least_seconds:g}s" if least_seconds else ""
    return Kind("TIME", parse, f"a duration{least} such as 30s, 250ms or 2m")


def _url_path(text: str) -> str:
    if not text.startswith("/") or text.strip() != text or "?" in text:
        raise ConfigError(f"{text!r} is not a path")
    return text


def _text(text: str) -> str:
    if not text.strip():
        raise ConfigError("it is empty")
    return text


SWITCH = Kind("", _switch, "true or false")
TEXT = Kind("TEXT", _text, "some text")
FILE = Kind("FILE", lambda text: Path(_text(text)), "the path of a file")
DIRECTORY = Kind("DIR", lambda text: Path(_text(text)), "the path of a directory")
SIZE = Kind("SIZE", parse_bytes, "a size such as 512M or 1.5G")
MARK = Kind("MARK", parse_threshold, "a share of the limit such as 80%, or a size such as 450M")
PORT = _whole(0, 65535, "PORT")
DURATION = _duration(0)
# A deadline or an interval of nothing would mean "at once, always": that is never meant.
POSITIVE_DURATION = _duration(0.1)

GROUPS = {
    "app": "Application",
    "listen": "Network",
    "memory": "Memory",
    "process": "Processes",
    "recycling": "Recycling",
    "admission": "Admission and health",
    "logging": "Logging",
    "reports": "Reports and alerts",
}

OPTIONS: tuple[Option, ...] = (
    Option(
        "target",
        "app",
        Kind("TARGET", _text, "MODULE:ATTR, for example main:app"),
        None,
        "the application: MODULE:ATTR, for example main:app, or MODULE:make_app()",
        is_target=True,
    ),
    Option("factory", "app", SWITCH, "false", "ATTR is called to get the application"),
    Option(
        "interface",
        "app",
        _choice("auto", "asgi", "wsgi"),
        "auto",
        "what the application speaks; auto looks at it",
    ),
    Option("app_dir", "app", DIRECTORY, ".", "directory to import the application from"),
    Option(
        "env_file",
        "app",
        FILE,
        None,
        "file with variables, for Tonnage and for the application; the environment wins over it",
    ),
    Option(
        "config",
        "app",
        FILE,
        None,
        "TOML file whose [tool.tonnage] table is read",
        default_note="pyproject.toml of the current directory, where there is one",
        in_file=False,
    ),
    Option("reload", "app", SWITCH, "false", "start anew when a source file changes"),
    Option(
        "preload",
        "app",
        SWITCH,
        "true",
        "import the application once and fork workers from there, so that they share its memory",
    ),
    Option(
        "host",
        "listen",
        TEXT,
        "127.0.0.1",
        "address to listen on",
        default_note="127.0.0.1, or 0.0.0.0 when PORT is set in the environment, "
        "which is how hosting platforms ask for a public server",
    ),
    Option(
        "port",
        "listen",
        PORT,
        "8000",
        "port to listen on; 0 takes a free one",
        conventional=("PORT",),
    ),
    Option("uds", "listen", FILE, None, "Unix socket to listen on instead of host and port"),
    Option("fd", "listen", _whole(0), None, "open socket to listen on instead of host and port"),
    Option("backlog", "listen", _whole(1), "2048", "connections the kernel may keep waiting"),
    Option(
        "admin_port",
        "listen",
        PORT,
        None,
        "port of 127.0.0.1 where the supervisor answers health, whatever the application does",
        default_note="none",
    ),
    Option(
        "keep_alive_seconds",
        "listen",
        DURATION,
        "5",
        "how long an idle connection is kept open",
    ),
    Option(
        "proxy_hops",
        "listen",
        _whole(0),
        "0",
        "proxies in front whose X-Forwarded-* headers are believed",
    ),
    Option(
        "memory",
        "memory",
        SIZE,
        None,
        "memory limit; never above what the kernel allows",
        conventional=("MAX_MEMORY_MB",),
        field="limit_bytes",
        default_note="found from the container, the resource limits or the host; "
        "a bare number in MAX_MEMORY_MB counts MB",
    ),
    Option("warning_at", "memory", MARK, "80%", "where the level becomes WARNING"),
    Option("critical_at", "memory", MARK, "90%", "where the level becomes CRITICAL"),
    Option("exhausted_at", "memory", MARK, "98%", "where the level becomes EXHAUSTED"),
    Option(
        "free_floor",
        "memory",
        SIZE,
        "16M",
        "the level is EXHAUSTED also when less than this is free",
        field="free_floor_bytes",
    ),
    Option(
        "allocator",
        "memory",
        _choice("auto", "huge", "mmap", "default"),
        "auto",
        "how malloc gives memory back: huge pages, mmap for each large block, or glibc's default",
    ),
    Option(
        "worker_memory",
        "memory",
        SIZE,
        None,
        "what one worker may hold, the application included: beyond it requests wait or fail",
        field="worker_memory_bytes",
        default_note="only the common limit counts",
    ),
    Option(
        "fuse",
        "memory",
        SWITCH,
        "true",
        "make an allocation that does not fit fail in its request, by RLIMIT_DATA on each worker",
    ),
    Option(
        "gc_interval",
        "memory",
        DURATION,
        "60",
        "each worker collects garbage and gives memory back this often; 0: only when short of it",
        field="gc_interval_seconds",
    ),
    Option(
        "memory_log_seconds",
        "memory",
        DURATION,
        "30",
        "a line about memory is logged this often; 0 never",
    ),
    Option(
        "workers",
        "process",
        _whole(1),
        None,
        "worker processes; what does not fit is refused, or reduced if it is from WEB_CONCURRENCY",
        conventional=("WEB_CONCURRENCY",),
        default_note="what processors and memory can hold",
    ),
    Option(
        "clustering",
        "process",
        SWITCH,
        None,
        "true allows several workers on a small limit, false forces one",
        conventional=("ENABLE_CLUSTERING",),
        default_note="several only where they fit well",
    ),
    Option("threads", "process", _whole(1), "16", "threads per worker for synchronous code"),
    Option(
        "stop_seconds",
        "process",
        DURATION,
        "30",
        "how long requests may take to finish when the server stops",
    ),
    Option(
        "start_seconds",
        "process",
        POSITIVE_DURATION,
        "60",
        "how long a worker may take to start",
    ),
    Option(
        "recycle",
        "recycling",
        SWITCH,
        "true",
        "replace a worker that does not give memory back, without losing a request",
    ),
    Option(
        "recycle_above",
        "recycling",
        SIZE,
        None,
        "a worker whose own memory stays above this after a collection is replaced",
        field="recycle_above_bytes",
        default_note="only what endangers the common limit counts",
    ),
    Option(
        "max_requests",
        "recycling",
        _whole(0),
        "0",
        "a worker is replaced after so many requests; 0 never",
    ),
    Option(
        "max_requests_jitter",
        "recycling",
        _whole(0),
        None,
        "up to so many requests more, drawn for each worker, so that not all are replaced at once",
        default_note="a tenth of max_requests",
    ),
    Option(
        "max_lifetime",
        "recycling",
        DURATION,
        "0",
        "a worker is replaced after so long, and up to a tenth more; 0 never",
        field="max_lifetime_seconds",
    ),
    Option("admission", "admission", SWITCH, "true", "let requests wait until their memory fits"),
    Option(
        "queue_seconds",
        "admission",
        DURATION,
        "10",
        "how long a request may wait before it gets 503",
    ),
    Option(
        "queue_requests",
        "admission",
        _whole(0),
        None,
        "how many requests may wait",
        default_note="a number that a small share of the limit can hold",
    ),
    Option(
        "retry_after_seconds",
        "admission",
        POSITIVE_DURATION,
        None,
        "the Retry-After of a refusal",
        default_note="estimated from the queue",
    ),
    Option(
        "health_path",
        "admission",
        Kind("PATH", _url_path, "a path such as /health"),
        "/health",
        "where health is answered; /ready and /memory are below it",
    ),
    Option(
        "admin_token",
        "admission",
        TEXT,
        None,
        "secret that opens the details to remote clients",
        default_note="none: only local clients see the details",
        is_secret=True,
    ),
    Option(
        "log_level",
        "logging",
        _choice("debug", "info", "warning", "error", "critical", warn="warning", fatal="critical"),
        "info",
        "the least level that is logged",
        conventional=("LOG_LEVEL",),
    ),
    Option(
        "log_format",
        "logging",
        _choice("auto", "json", "text"),
        "auto",
        "auto is json in production and text in development",
    ),
    Option("access_log", "logging", SWITCH, "false", "log each request"),
    Option(
        "env",
        "logging",
        _choice("production", "development", prod="production", dev="development"),
        None,
        "what the server is run for",
        field="environment",
        default_note="development when standard error is a terminal, else production",
    ),
    Option(
        "report_dir",
        "reports",
        DIRECTORY,
        None,
        "directory for the reports on workers that died and requests that ran out of memory",
        default_note="beside the control socket",
    ),
    Option("reports", "reports", _whole(1, 1000), "20", "so many of the newest reports are kept"),
    Option(
        "leak_report",
        "reports",
        SWITCH,
        "false",
        "when a leak is found, look for the lines that leak in one worker, for a bounded time",
    ),
    Option(
        "alert_url",
        "reports",
        TEXT,
        None,
        "webhook that is told of CRITICAL memory, dead workers and leaks",
        default_note="none",
        is_secret=True,
    ),
    Option(
        "alert_format",
        "reports",
        _choice("auto", "json", "slack"),
        "auto",
        "what the webhook understands; auto is slack for hooks.slack.com, else json",
    ),
    Option(
        "alert_seconds",
        "reports",
        DURATION,
        "300",
        "alerts of one kind are sent at most this often; those between are counted",
    ),
)
