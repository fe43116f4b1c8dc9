"""The protocol by which systemd hands a service its source of memory pressure."""

from __future__ import annotations

import base64
import os
import select
import socket
import sys
from pathlib import Path

import pytest
from tests.host.watching import (
    NO_PRESSURE,
    is_quiet,
    limit_of,
    need_host_pressure,
    only,
    reports,
)

from tonnage.host.wakeups import open_wakeups

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")

TRIGGER = b"some 200000 2000000\0"


def watch(path: Path, written: bytes = b"") -> dict[str, str]:
    """Return the variables that systemd sets."""
    encoded = base64.b64encode(written).decode()
    return {"MEMORY_PRESSURE_WATCH": str(path), "MEMORY_PRESSURE_WRITE": encoded}


def test_systemd_fifo_reports_what_is_written_and_is_quiet_once_drained(tmp_path: Path) -> None:
    """Whatever is written means pressure; that the writer ends means nothing."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with only(open_wakeups(limit_of(None), [], watch(fifo))) as wakeup:
        assert wakeup.name == f"systemd's {fifo}"
        assert is_quiet(wakeup)
        for _ in range(2):
            fifo.write_bytes(b"pressure")
            assert reports(wakeup)
            assert wakeup.drain()
            assert is_quiet(wakeup)
        assert wakeup.drain()


def test_systemd_socket_gets_the_settings_reports_and_ends(tmp_path: Path) -> None:
    """The decoded settings arrive at the other end, and its closing is the end of the source."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen(1)
        environ = watch(tmp_path / "socket", TRIGGER)
        with only(open_wakeups(limit_of(None), [], environ)) as wakeup:
            manager, _ = listening.accept()
            with manager:
                assert manager.recv(100) == TRIGGER
                manager.send(b"pressure")
                assert reports(wakeup)
                assert wakeup.drain()
                assert is_quiet(wakeup)
            assert reports(wakeup)
            assert not wakeup.drain()


def test_systemd_pressure_file_is_armed_with_its_own_settings() -> None:
    """A regular file is taken for the kernel's; ours is not opened beside it."""
    need_host_pressure()
    environ = watch(Path("/proc/pressure/memory"), TRIGGER)
    with only(open_wakeups(limit_of(None), [], environ)) as wakeup:
        assert wakeup.name == "systemd's /proc/pressure/memory"
        assert wakeup.events == select.EPOLLPRI
        assert wakeup.drain()


def test_systemd_pressure_file_without_settings_would_report_for_ever(tmp_path: Path) -> None:
    """Nothing was asked of the kernel, so all it has to say is an error: not watched."""
    need_host_pressure()
    environ = watch(Path("/proc/pressure/memory"))
    found, missing = open_wakeups(limit_of(None), [], environ, root=tmp_path)

    assert found == []
    assert missing[1] == "systemd's /proc/pressure/memory: reports an error at once"


def test_systemd_dev_null_switches_pressure_off() -> None:
    """The administrator has said no, so the host's file is not opened either."""
    found, missing = open_wakeups(limit_of(None), [], NO_PRESSURE)

    assert found == []
    assert missing[1] == "memory pressure: switched off by MEMORY_PRESSURE_WATCH=/dev/null"


@pytest.mark.parametrize(
    ("name", "written", "reason"),
    [
        ("file", "", "not a file that reports events"),
        ("absent", "", "No such file or directory"),
        (".", "", "neither a pressure file nor a FIFO nor a socket"),
        ("file", "%", "MEMORY_PRESSURE_WRITE is not Base64"),
        ("nul\0", "", "embedded null byte"),
    ],
)
def test_systemd_variables_without_sense_are_named(
    tmp_path: Path, name: str, written: str, reason: str
) -> None:
    """Whatever the variables hold, opening does not raise, and goes on to the next source."""
    (tmp_path / "file").touch()
    path = f"{tmp_path}/{name}"
    environ = {"MEMORY_PRESSURE_WATCH": path, "MEMORY_PRESSURE_WRITE": written}

    found, missing = open_wakeups(limit_of(None), [], environ, root=tmp_path)

    assert found == []
    assert missing[1].startswith(f"systemd's {path}: {reason}")
    assert missing[2] == "/proc/pressure/memory: No such file or directory"
