"""A virtual machine that runs one command, prints what that prints, and ends with its status.

The host's own acceleration (KVM) is used if there is any and it is wanted; else everything is
emulated, which is 10 to 20 times slower and works everywhere. The guest has two processors, as much
memory as it is given, two disks whose changes are thrown away, a console, and no network.
"""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm.needs import Needs

_STATUS = re.compile(r"guest: exit status (\d+)")
# The firmware sets up the screen before the kernel starts.
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?=]*[a-zA-Z]|[c78])")


class NoStatusError(Exception):
    """The guest ended, or was ended, before its command had."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the guest consists of.

    Attributes:
        memory_mb: the guest's memory in MB.
        processors: how many processors it has; each takes one thread of the host.
        accelerated: whether to use KVM where it is available.
    """

    memory_mb: int
    processors: int = 2
    accelerated: bool = False


def qemu_command(
    needs: Needs, hardware: Hardware, start: Path, disks: Sequence[Path], log_level: int
) -> list[str]:
    """Return the command that boots *needs*' kernel with the archive *start* and *disks*."""
    # Without a reliable TSC each look at the clock would leave the guest.
    words = (
        f"console=ttyS0 loglevel={log_level} panic=-1 cgroup_no_v1=all tsc=reliable"
        " mitigations=off nokaslr"
    )
    command = [needs.qemu, "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]
    # The oldest processor that numpy's wheels run on. With "max" Python is a third slower here.
    command += ["-cpu", "Nehalem", "-smp", str(hardware.processors), "-m", f"{hardware.memory_mb}M"]
    command += ["-accel", "kvm"] if hardware.accelerated else []
    command += ["-accel", "tcg,thread=multi"]
    command += ["-kernel", str(needs.kernel), "-initrd", str(start), "-append", words]
    for disk in disks:
        # A disk of its own behind which changes go to a temporary file: the image stays as it is.
        options = "if=virtio,format=raw,snapshot=on,cache=unsafe"
        command += ["-drive", f"file={disk},{options}"]
    return command


def run(command: Sequence[str], deadline_seconds: float, show: Callable[[str], None]) -> int:
    """Run a guest, *show* each line of its console, and return the status it reports.

    Raises:
        NoStatusError: it ended without one, or had not *deadline_seconds* after its start.
    """
    status: int | None = None
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        ) as process:
            timer = threading.Timer(deadline_seconds, process.send_signal, [signal.SIGKILL])
            timer.daemon = True
            timer.start()
            assert process.stdout is not None
            for raw in process.stdout:
                line = _as_seen(raw)
                if found := _STATUS.search(line):
                    status = int(found[1])
                elif status is None:  # what follows is the kernel's farewell
                    show(line)
            timer.cancel()
        if status is not None:
            return status
        if process.returncode == -signal.SIGKILL:
            raise NoStatusError(f"the guest had not ended after {deadline_seconds:g} s")
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
        raise NoStatusError(f"the guest ended without a status: {said or 'see above'}")


def _as_seen(raw: bytes) -> str:
    """Return a line as a terminal would leave it: what was written over is gone."""
    text = _ESCAPES.sub("", raw.decode(errors="replace"))
    return text.rstrip("\r\n").rpartition("\r")[2]
