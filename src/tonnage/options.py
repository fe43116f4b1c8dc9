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


def _interval_or_off(text: str) -> float:
    seconds = parse_seconds(text)
    if 0 < seconds < 1:
        raise ConfigError(f"{text!r} is too short")
    return seconds


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word for word in (part.strip() for part in text.split(",")) if word)
    if not words:
        raise ConfigError("it is empty")
    return words


def _rates(text: str) -> str:
    from tonnage.web.path.rates import parse_limits  # Only here: few have any.

    parse_limits(text)
    return text


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
WORDS = Kind("A,B", _words, "words with commas between them")
RATES = Kind("RATE", _rates, "a rate such as 100/15m, or several with commas between them")
FILE = Kind("FILE", lambda text: Path(_text(text)), "the path of a file")
DIRECTORY = Kind("DIR", lambda text: Path(_text(text)), "the path of a directory")
SIZE = Kind("SIZE", parse_bytes, "a size such as 512M or 1.5G")
MARK = Kind("MARK", parse_threshold, "a share of the limit such as 80%, or a size such as 450M")
PORT = _whole(0, 65535, "PORT")
DURATION = _duration(0)
# A deadline or an interval of nothing would mean "at once, always": that is never meant.
POSITIVE_DURATION = _duration(0.1)
# What is done to every worker again and again would leave it no time to serve.
INTERVAL_OR_OFF = Kind(
    "TIME", _interval_or_off, "a duration of at least 1s such as 30s or 2m, or 0 for off"
)

GROUPS = {
    "app": "Application",
    "listen": "Network",
    "memory": "Memory",
    "process": "Processes",
    "recycling": "Recycling",
    "admission": "Admission and health",
    "path": "Requests and responses",
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
        "how long an idle connection is kept open; less while memory is short",
    ),
    Option(
        "max_connections",
        "listen",
        _whole(1),
        None,
        "connections that one worker serves at once; beyond it the longest idle ones are closed",
        default_note="what 4 % of the memory limit can hold, and what descriptors allow",
    ),
    Option(
        "header_seconds",
        "listen",
        DURATION,
        "10",
        "how long the head of a request may take to arrive; 0: for ever",
    ),
    Option(
        "max_header_bytes",
        "listen",
        SIZE,
        "32K",
        "what the head of a request may come to: URL and headers together",
    ),
    Option("max_headers", "listen", _whole(1), "100", "headers that a request may have"),
    Option(
        "body_seconds",
        "listen",
        DURATION,
        "10",
        "a body that comes slower than min_body_rate for so long is cut; 0: never",
    ),
    Option(
        "min_body_rate",
        "listen",
        _whole(1, metavar="BYTES"),
        "100",
        "bytes a second that a body has to come with, while it is read",
        field="min_body_bytes_per_second",
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
        "what one worker may hold: its private memory, with what it took over from the imported "
        "application; files and shared memory do not count. Beyond it requests wait or fail",
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
        INTERVAL_OR_OFF,
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
        INTERVAL_OR_OFF,
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
        "max_body",
        "path",
        SIZE,
        None,
        "the largest body of a request that is taken; a larger one gets 413",
        field="max_body_bytes",
        default_note="any size",
    ),
    Option(
        "max_upload",
        "path",
        SIZE,
        None,
        "the same for bodies with files: multipart, and types that are no JSON, form or text",
        field="max_upload_bytes",
        default_note="as max_body",
    ),
    Option(
        "max_response",
        "path",
        SIZE,
        None,
        "the largest response; a larger one becomes a clear error, or is cut if it has begun",
        field="max_response_bytes",
        default_note="any size",
    ),
    Option(
        "timeout",
        "path",
        POSITIVE_DURATION,
        None,
        "how long until a response begins, and between its parts; then 504, and the work is ended",
        field="timeout_seconds",
        default_note="any time",
    ),
    Option(
        "rate_limit",
        "path",
        RATES,
        None,
        "requests in a time for each client, as in 100/15m; with more of them, each counts",
        default_note="any number",
    ),
    Option("compress", "path", SWITCH, "false", "compress responses that get smaller by it"),
    Option(
        "compress_level",
        "path",
        _whole(1, 9),
        "6",
        "gzip's level, from 1 (fast) to 9 (small)",
    ),
    Option(
        "decompress",
        "path",
        SWITCH,
        "false",
        "unpack compressed bodies of requests, within the limits of what is sent plain",
    ),
    Option(
        "remove_headers",
        "path",
        WORDS,
        None,
        "headers that no response is to have, such as server,x-powered-by",
        default_note="all stay",
    ),
    Option(
        "cors_origins",
        "path",
        WORDS,
        None,
        "sites whose pages may call this one, such as https://shop.example, or *",
        default_note="none: CORS is the application's affair",
    ),
    Option(
        "cors_methods",
        "path",
        WORDS,
        "DELETE,GET,HEAD,PATCH,POST,PUT",
        "methods that they may use",
    ),
    Option(
        "cors_headers",
        "path",
        WORDS,
        None,
        "headers that they may send besides those that need no permission, or *",
        default_note="no others",
    ),
    Option("cors_credentials", "path", SWITCH, "false", "whether they may call with cookies"),
    Option(
        "cors_max_age",
        "path",
        DURATION,
        "24h",
        "how long browsers remember that they may",
        field="cors_max_age_seconds",
    ),
    Option(
        "problem_shape",
        "path",
        Kind("MODULE:ATTR", _text, "MODULE:ATTR of a function"),
        None,
        "function that makes the JSON of refusals from a Problem",
        default_note="problem details as of RFC 9457",
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
