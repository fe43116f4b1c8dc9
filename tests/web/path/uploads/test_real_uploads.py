from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running
from tests.support.waiting import await_true
from tests.web.path.uploads.forms import FORM_TYPE, file_part, form, png

from tonnage.units import MIB

APP = "tests.web.path.uploads.app:app"
CLIENTS = 64
BODY = form(file_part("photo", "a.png", png(2 * MIB)))
HEAD = (
    b"POST /photos HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (FORM_TYPE, len(BODY))
)


# A client that asks first (Expect: 100-continue) sends nothing before its turn.
@pytest.mark.real
@pytest.mark.parametrize("asks_first", [True, False])
def test_many_uploads_at_once_stay_on_disk(asks_first: bool, tmp_path: Path) -> None:
    """64 clients that send 2 MB each are all served, and their 128 MB are never in memory."""
    need_cgroup()
    keep = tmp_path / "kept"
    keep.mkdir()
    env = {"SPOOL": str(tmp_path), "KEEP": str(keep)}
    with (
        MemoryBox(256 * MIB) as box,
        Running(APP, "--memory", "256M", "--workers", "1", box=box, env=env) as server,
    ):
        asyncio.run(_send_all(server.port, 4, asks_first))
        before_bytes = box.usage()
        assert asyncio.run(_send_all(server.port, CLIENTS, asks_first)) == {
            b"HTTP/1.1 201": CLIENTS
        }
        assert box.peak() - before_bytes < 12 * MIB
        assert box.kills() == 0
        # What was kept is on the disk, and no longer in the page cache.
        kept = list(keep.iterdir())
        assert len(kept) == CLIENTS + 4
        assert {path.stat().st_size for path in kept} == {2 * MIB}
        assert box.usage() - before_bytes < 16 * MIB


@pytest.mark.real
def test_a_killed_worker_leaves_no_file(tmp_path: Path) -> None:
    """After kill -9 in the middle of an upload no file of it is left."""
    with Running(APP, "--memory", "256M", "--workers", "1", env={"SPOOL": str(tmp_path)}) as server:
        (worker,) = server.worker_pids()
        with server.connect() as connection:
            connection.sendall(HEAD + BODY[: MIB + 1])
            await_true(lambda: _holds(worker, tmp_path), "the upload to be written")
            assert list(tmp_path.iterdir()) == []
            os.kill(worker, signal.SIGKILL)
            await_true(lambda: server.worker_pids() not in ([], [worker]), "a new worker")
        assert list(tmp_path.iterdir()) == []
        assert server.get("/").status == 200


async def _send_all(port: int, clients: int, asks_first: bool) -> Counter[bytes]:
    return Counter(await asyncio.gather(*(_send(port, asks_first) for _ in range(clients))))


async def _send(port: int, asks_first: bool) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if asks_first:
        writer.write(HEAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(BODY)
    else:
        writer.write(HEAD + BODY)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer[:12]


def _holds(pid: int, directory: Path) -> bool:
    """Return whether process *pid* has a nameless file in *directory* that something is in."""
    own = f"/proc/{pid}/fd"
    for number in os.listdir(own):
        try:
            if str(directory) in os.readlink(f"{own}/{number}"):
                return os.stat(f"{own}/{number}").st_size > 0
        except FileNotFoundError:
            continue
    return False
