"""Work apart from the server: how many jobs, how large, how long, and where models are."""

from __future__ import annotations

from tonnage.options.kinds import DIRECTORY, POSITIVE_DURATION, SIZE, TEXT, whole
from tonnage.options.option import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "jobs",
        "jobs",
        TEXT,
        None,
        "task queue that isolated jobs are handed to, as in redis://host/0",
        default_note="none: they run on this machine",
        is_secret=True,
    ),
    Option(
        "job_key",
        "jobs",
        TEXT,
        None,
        "what jobs of the task queue are signed with, the same for the application and its workers",
        default_note="none: whoever can write to that Redis can run code",
        is_secret=True,
    ),
    Option(
        "job_slots",
        "jobs",
        whole(1, 64),
        "1",
        "isolated jobs that may run at once, in all workers together",
    ),
    Option(
        "job_memory",
        "jobs",
        SIZE,
        "250M",
        "what a job may hold, where it does not say; unless set, no more than there is room for",
        field="job_memory_bytes",
    ),
    Option(
        "job_timeout",
        "jobs",
        POSITIVE_DURATION,
        "30s",
        "how long a job may run, where it does not say",
        field="job_timeout_seconds",
    ),
    Option(
        "job_queue",
        "jobs",
        whole(0, 1024),
        "16",
        "jobs that may wait; more are refused",
    ),
    Option(
        "job_wait",
        "jobs",
        POSITIVE_DURATION,
        "10s",
        "how long a job may wait for its turn before it is refused",
        field="job_wait_seconds",
    ),
    Option(
        "job_results",
        "jobs",
        TEXT,
        None,
        "where results go that are too large for the task queue: a directory or s3://bucket/prefix",
        default_note="the task queue's Redis",
        is_secret=True,
    ),
    Option(
        "job_retries",
        "jobs",
        whole(0, 100),
        "2",
        "how often a job of the task queue is tried again whose worker died",
    ),
    Option(
        "models_dir",
        "jobs",
        DIRECTORY,
        None,
        "directory of the models that images use",
        conventional=("U2NET_HOME",),
        default_note="tonnage/models in the user's data directory",
    ),
)
