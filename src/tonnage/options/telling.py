"""What is logged, what is kept as a report, and who is told."""

from __future__ import annotations

from tonnage.options.kinds import DIRECTORY, DURATION, SWITCH, TEXT, choice, whole
from tonnage.options.option import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "log_level",
        "logging",
        choice("debug", "info", "warning", "error", "critical", warn="warning", fatal="critical"),
        "info",
        "the least level that is logged",
        conventional=("LOG_LEVEL",),
    ),
    Option(
        "log_format",
        "logging",
        choice("auto", "json", "text"),
        "auto",
        "auto is json in production and text in development",
    ),
    Option("access_log", "logging", SWITCH, "false", "log each request"),
    Option(
        "env",
        "logging",
        choice("production", "development", prod="production", dev="development"),
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
    Option(
        "state_dir",
        "reports",
        DIRECTORY,
        None,
        "directory in which the memory use of hours and days is kept, for tonnage plan --observed",
        default_note="tonnage in $XDG_STATE_HOME, systemd's StateDirectory=, or "
        "~/.local/state/tonnage",
    ),
    Option("reports", "reports", whole(1, 1000), "20", "so many of the newest reports are kept"),
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
        "webhook that is told of CRITICAL memory, dead workers, leaks and attacks",
        default_note="none",
        is_secret=True,
    ),
    Option(
        "alert_format",
        "reports",
        choice("auto", "json", "slack"),
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
