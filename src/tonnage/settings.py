"""What Tonnage was told, as frozen records: one for each concern, found by :mod:`tonnage.config`.

Values have their units in their names, and were checked when they were found. To add one: see
:mod:`tonnage.options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tonnage.options import OPTIONS
from tonnage.units import Threshold


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What to run and how to load it."""

    target: str | None
    factory: bool
    interface: Literal["auto", "asgi", "wsgi"]
    app_dir: Path
    env_file: Path | None
    config: Path | None
    reload: bool
    preload: bool


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where to listen, and whom in front of the server to believe."""

    host: str
    port: int
    uds: Path | None
    fd: int | None
    backlog: int
    admin_port: int | None
    keep_alive_seconds: float
    max_connections: int | None
    header_seconds: float
    max_header_bytes: int
    max_headers: int
    body_seconds: float
    min_body_bytes_per_second: int
    proxy_hops: int


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """The limit the user wants (None: what is found), and the marks on the way to it."""

    limit_bytes: int | None
    warning_at: Threshold
    critical_at: Threshold
    exhausted_at: Threshold
    free_floor_bytes: int
    allocator: Literal["auto", "huge", "mmap", "default"]
    worker_memory_bytes: int | None
    fuse: bool
    gc_interval_seconds: float
    memory_log_seconds: float


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """How many processes and threads, and how long they may take to start and stop.

    ``workers`` is a number, which has to fit. ``clustering`` has the plan find the number: where it
    is true, with less memory left to requests; where it is false, 1 whatever a platform's
    ``WEB_CONCURRENCY`` asks for.
    """

    workers: int | None
    clustering: bool | None
    threads: int
    stop_seconds: float
    start_seconds: float


@dataclass(frozen=True, slots=True)
class RecyclingSettings:
    """When a worker is replaced by a fresh one."""

    recycle: bool
    recycle_above_bytes: int | None
    max_requests: int
    max_lifetime_seconds: float


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """Who may enter, how long they may wait, and what is told to whom."""

    admission: bool
    queue_seconds: float
    queue_requests: int | None
    retry_after_seconds: float | None
    health_path: str
    page_path: str
    metrics_path: str
    api_aliases: bool
    admin_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class PathSettings:
    """Limits on the way of a request; None where there is none. ``routes`` differ from them."""

    max_body_bytes: int | None
    max_upload_bytes: int | None
    max_response_bytes: int | None
    timeout_seconds: float | None
    rate_limit: str | None
    compress: bool
    compress_level: int
    compress_min_bytes: int
    compress_types: tuple[str, ...] | None
    decompress: bool
    decompress_ratio: int
    remove_headers: tuple[str, ...] | None
    request_ids: bool
    cors_origins: tuple[str, ...] | None
    cors_methods: tuple[str, ...]
    cors_headers: tuple[str, ...] | None
    cors_expose: tuple[str, ...] | None
    cors_credentials: bool
    cors_max_age_seconds: float
    problem_shape: str | None
    #: By route ("POST /photos"), as they are written.
    routes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What the stores of an application start from."""

    redis_url: str | None = field(repr=False)
    use_redis: bool
    cache_ttl_seconds: float
    cache_dir: Path | None
    spool_dir: Path


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """How databases are asked. `database_connections` is for all workers together."""

    database_url: str | None = field(repr=False)
    database_connections: int | None
    mongo_url: str | None = field(repr=False)
    mongo_pool_size: int | None
    max_query_rows: int
    max_query_bytes: int
    query_guard: Literal["stop", "warn", "off"]
    slow_query_seconds: float
    statement_timeout_seconds: float
    lock_timeout_seconds: float
    connection_idle_seconds: float
    connection_lifetime_seconds: float


@dataclass(frozen=True, slots=True)
class JobSettings:
    """How work runs apart from the server. ``jobs`` is the task queue's URL, if there is one."""

    jobs: str | None = field(repr=False)
    job_key: str | None = field(repr=False)
    job_slots: int
    job_memory_bytes: int
    job_timeout_seconds: float
    job_queue: int
    job_wait_seconds: float
    job_results: str | None = field(repr=False)
    job_retries: int
    models_dir: Path | None


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """What is logged, and how."""

    log_level: Literal["debug", "info", "warning", "error", "critical"]
    log_format: Literal["auto", "json", "text"]
    access_log: bool
    environment: Literal["production", "development"]

    @property
    def as_json(self) -> bool:
        """Whether log lines are JSON, with ``auto`` resolved."""
        if self.log_format == "auto":
            return self.environment == "production"
        return self.log_format == "json"


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What is written down and who is told when something went wrong."""

    report_dir: Path | None
    state_dir: Path | None
    reports: int
    leak_report: bool
    alert_url: str | None = field(repr=False)
    alert_format: Literal["auto", "json", "slack"]
    alert_seconds: float


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, grouped by concern.

    ``sources`` maps an option's name to where its value came from: ``flag``,
    ``environment MAX_MEMORY_MB``, ``env file .env``, ``pyproject.toml`` or ``default``.
    ``env_file_variables`` is what the env file holds, for the application's own environment.
    ``warnings`` say what was found beside them that has no effect.
    """

    app: AppSettings
    listen: ListenSettings
    memory: MemorySettings
    process: ProcessSettings
    recycling: RecyclingSettings
    admission: AdmissionSettings
    path: PathSettings
    stores: StoreSettings
    databases: DatabaseSettings
    jobs: JobSettings
    logging: LoggingSettings
    reports: ReportSettings
    sources: Mapping[str, str] = field(repr=False)
    env_file_variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()

    def origin(self, name: str) -> str:
        """Return how a message should call the option *name*, by the place it was set in.

        ``--memory``, ``MAX_MEMORY_MB``, ``memory in pyproject.toml``; the flag for a default.
        """
        source = self.sources[name]
        if source.startswith("environment "):
            return source.removeprefix("environment ")
        if source in ("flag", "default"):
            return next(option.flag for option in OPTIONS if option.name == name)
        return f"{name} in {source.removeprefix('env file ')}"
