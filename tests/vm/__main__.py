"""The cgroup tests, inside a kernel that has the memory controller on version 2.

    python -m tests.vm                        the tests marked cgroup2
    python -m tests.vm tests/host -k limits   others: what follows is pytest's
    python -m tests.vm --exec cat /proc/pressure/memory

A machine without what this needs (``needs``) skips it with the reason; under CI=true that fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.marked import is_marked
from tests.vm.images import checkout_disk, start_archive, system_disk
from tests.vm.machine import Hardware, NoStatusError, qemu_command, run
from tests.vm.needs import ROOT, MissingError, Needs, find_needs

_MARKER = "cgroup2"
# Measured: Python starts 15 to 20 times slower, and large blocks are filled 10 times slower.
_SLOWNESS = 10
# What a test has printed is shown (P): bursts tell how fast memory grew. One plugin that none of
# them needs would take the guest ten seconds to import.
_PYTEST = (
    "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:schemathesis", "-raP", "--durations=5"
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run what *arguments* say in a guest; return the process's exit status."""
    options, rest = _parser().parse_known_args(arguments)
    try:
        needs = find_needs()
    except MissingError as missing:
        under_ci = os.environ.get("CI") == "true"
        print(f"cgroup v2 in a virtual machine: {'not run' if under_ci else 'skipped'}: {missing}")
        return 1 if under_ci else 0
    try:
        return _boot(needs, options, _command(options, rest))
    except NoStatusError as error:
        print(f"cgroup v2 in a virtual machine: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.vm", allow_abbrev=False)
    parser.add_argument("--exec", action="store_true", help="run a command instead of pytest")
    parser.add_argument("--kvm", action="store_true", help="use KVM where there is any")
    parser.add_argument("--memory-mb", type=int, default=2048, metavar="MB")
    parser.add_argument("--deadline-seconds", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--log-level", type=int, default=1, help="the kernel's: 7 shows all")
    return parser


def _command(options: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    """Return the command for the guest."""
    if options.exec:
        return list(rest)
    return [
        sys.executable,
        *_PYTEST,
        *(rest or ("-m", f"{_MARKER} and not soak", *_marked_files())),
    ]


def _marked_files() -> list[str]:
    """Return the files with the marker in them: to look for them takes the guest ten seconds."""
    files = (ROOT / "tests").rglob("test_*.py")
    return sorted(str(path.relative_to(ROOT)) for path in files if is_marked(path, _MARKER))


def _boot(needs: Needs, options: argparse.Namespace, command: Sequence[str]) -> int:
    hardware = Hardware(memory_mb=options.memory_mb, accelerated=options.kvm)
    system = system_disk(needs)
    with checkout_disk(needs) as checkout, tempfile.NamedTemporaryFile() as start:
        start.write(start_archive(needs, command, 1 if options.kvm else _SLOWNESS))
        start.flush()
        words = qemu_command(
            needs, hardware, Path(start.name), (system, checkout), options.log_level
        )
        print(f"cgroup v2 in a virtual machine: Linux {needs.release}", flush=True)
        started = time.monotonic()
        status = run(words, options.deadline_seconds, lambda line: print(line, flush=True))
        print(f"the guest ran for {time.monotonic() - started:.0f} s", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
