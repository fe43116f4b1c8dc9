"""The limit, the marks on the way to it, and what a worker may hold."""

from __future__ import annotations

from tonnage.options.kinds import DURATION, INTERVAL_OR_OFF, MARK, SIZE, SWITCH, choice, size
from tonnage.options.option import Option
from tonnage.units import MIB

OPTIONS: tuple[Option, ...] = (
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
        choice("auto", "huge", "mmap", "default"),
        "auto",
        "how malloc gives memory back: huge pages, mmap for each large block, or glibc's default",
    ),
    Option(
        "worker_memory",
        "memory",
        size(MIB, "200M"),
        None,
        "what one worker may hold: its private memory, with what it took over from the imported "
        "application; files and shared memory do not count. Beyond it requests wait, or fail "
        "by the fuse",
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
)
