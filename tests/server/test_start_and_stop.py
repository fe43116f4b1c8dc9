"""A real server from its start to its end: what can go wrong, and what signals do."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.ports import free_port
from tests.support.server import (
    Running,
    clean_environment,
    command,
    run_to_end,
)
from tests.support.waiting import Ends, await_true

from tonnage.host.processes import descendants
from tonnage.units import MIB

pytestmark = pytest.mark.real

MODULE = "tests.promises.apps"
APP = f"{MODULE}:app"
LIMIT = ("--memory", "512M")
ANY_PORT = ("--port", "0")
CORS = ("--cors-origins", "https://a.example")

# Says which process imports it, in the working directory, and then does not come to an end.
SLOW_IMPORT = """
import os, time
with open("importing", "w") as marker:
    marker.write(str(os.getpid()))
time.sleep(20)
async def app(scope, receive, send): ...
"""

# Holds 420 MB once it has started.
HEAVY = """
held = []
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        held.append(b"x" * (420 << 20))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
"""

AWAY = """
from contextlib import asynccontextmanager

from starlette.applications import Starlette

@asynccontextmanager
async def lifespan(app):
    raise ConnectionRefusedError("database is away, " + "really " * 1000)
    yield

app = Starlette(lifespan=lifespan)
"""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no application is named: write for example tonnage run main:app"),
        (("no_such_module:app", *ANY_PORT), "no module 'no_such_module' in .*use --app-dir"),
        (
            ("no_such_module:app", "--no-preload", *ANY_PORT),
            "no module 'no_such_module' in .*use --app-dir",
        ),
        (
            (f"{MODULE}:nope", *ANY_PORT),
            "module 'tests.promises.apps' has no attribute 'nope'; it has ",
        ),
        ((f"{MODULE}:MIB", *ANY_PORT), "is no application: it is an int, and not callable"),
        (("main",), "'main' does not name an application: write MODULE:ATTR"),
        ((APP, "--memory", "lots"), "--memory='lots' makes no sense: write a size such as 512M"),
        ((APP, "--port", "99999"), "--port='99999' makes no sense"),
        ((APP, "--remove-headers", "bad header:"), "--remove-headers has 'bad header:' in it"),
        (
            (APP, *CORS, "--cors-credentials", "--cors-expose", "*", "--port", "0"),
            "CORS with credentials needs cors_expose by name",
        ),
        ((APP, "--colour"), "unrecognized arguments: --colour: see tonnage run --help"),
        ((APP, "--host", "192.0.2.1"), "192.0.2.1:8000 is no address of this machine"),
        ((APP, "--memory", "64M", "--workers", "40", "--port", "0"), "40"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    """Exit status 2, no traceback, and nothing left running."""
    ended = run_to_end(*arguments)

    assert ended.returncode == 2
    assert re.search(words, ended.stderr), ended.stderr
    assert ended.stderr.startswith("tonnage: error: ")
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_most_mistakes_take_a_single_line() -> None:
    """So that a log collector shows all of it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_to_end(APP, "--port", port)

    assert ended.returncode == 2
    assert ended.stderr == (
        f"tonnage: error: 127.0.0.1:{port} is in use: stop the other server or choose another "
        "--port\n"
    )


def test_a_misspelt_variable_is_warned_of_once() -> None:
    """It may be another program's, so it is no mistake."""
    ended = run_to_end("no_such_module:app", env={"TONNAGE_WROKERS": "3"})

    assert ended.stderr.count("TONNAGE_WROKERS is set and has no effect") == 1
    assert "did you mean TONNAGE_WORKERS?" in ended.stderr


def test_a_level_that_the_start_brings_is_told(tmp_path: Path) -> None:
    """By the log, as any other, and not only by the banner's figure."""
    (tmp_path / "heavy.py").write_text(HEAVY)
    arguments = ("heavy:app", "--app-dir", str(tmp_path), "--workers", "1", *LIMIT)
    with Running(*arguments) as server:
        await_true(lambda: "memory OK -> " in server.log, "the first level", 10.0)


def test_an_application_may_make_many_caches_at_its_import(tmp_path: Path) -> None:
    """What tells of them to the plan has an end: the largest by name, the others as one."""
    made = "caches = [Cache(f'{n:090}', max_bytes=1000) for n in range(200)]\n"
    (tmp_path / "many.py").write_text(f"from tonnage import Cache\nfrom {MODULE} import *\n{made}")
    with Running(f"many:{APP.partition(':')[2]}", "--app-dir", str(tmp_path)) as server:
        assert server.get("/").status == 200


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_an_application_that_does_not_start_ends_the_server(preload: str) -> None:
    """Exit status 1 with its own reason, and no loop."""
    ended = run_to_end(f"{MODULE}:fails_to_start", preload, "--port", "0")

    assert ended.returncode == 1
    assert "no database at db:5432" in ended.stderr
    assert (
        "no worker has ever served: the application's startup failed: no database at db:5432;"
        " stopping" in ended.stderr
    )
    assert "Traceback" not in ended.stderr


def test_what_was_added_at_a_startup_that_fails_is_stored(tmp_path: Path) -> None:
    """As at any end of a worker."""
    file = tmp_path / "events.jsonl"
    ended = run_to_end(
        "tests.stores.writing_app:hopeless", "--port", "0", env={"EVENTS_FILE": str(file)}
    )

    assert ended.returncode == 1
    assert file.read_text() == '{"path":"startup"}\n'


def test_the_last_line_has_the_exception_of_a_lifespan(tmp_path: Path) -> None:
    """Of which a framework tells the whole traceback; so much of it as fits."""
    (tmp_path / "away.py").write_text(AWAY)
    ended = run_to_end("away:app", "--app-dir", str(tmp_path), "--port", "0")

    last = ended.stderr.rstrip().rpartition("\n")[2]
    assert "the application's startup failed: ConnectionRefusedError: database is away, " in last
    assert "; stopping" in last
    assert len(last) < 1300


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_an_application_that_fails_in_its_import_ends_the_server(
    tmp_path: Path, preload: str
) -> None:
    """Exit status 1, with the traceback, since that is what the developer needs."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such table')")

    ended = run_to_end("broken:app", preload, "--app-dir", str(tmp_path), "--port", "0")

    assert ended.returncode == 1
    assert "importing broken:app failed: RuntimeError: no such table" in ended.stderr
    assert "Traceback" in ended.stderr


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_a_shape_of_refusals_that_is_not_there_ends_the_start(preload: str) -> None:
    """Exit status 2 and one line, as for an application that is not there; no loop."""
    ended = run_to_end(APP, "--problem-shape", f"{MODULE}:nothing", preload, "--port", "0")

    assert ended.returncode == 2, ended.stderr
    assert re.fullmatch(
        r"tonnage: error: --problem-shape '\S+:nothing' leads to no function: .*\n", ended.stderr
    )


def test_lifespan_runs_once_in_each_worker() -> None:
    """Startup before it serves, shutdown after its last answer."""
    with Running(APP, *LIMIT, "--workers", "2") as server:
        workers = server.worker_pids()
        assert server.stop() == 0

    found = re.findall(r"lifespan (\w+) in (\d+)", server.log)
    assert sorted(found) == sorted(
        (event, str(pid)) for event in ("startup", "shutdown") for pid in workers
    )


def test_threads_started_by_the_import_are_no_harm() -> None:
    """Workers then import for themselves, as a fork would lose the thread; the banner says so."""
    with Running(f"{MODULE}:start_thread", "--factory", *LIMIT, "--workers", "2") as server:
        assert "off (importing the application started 1 thread(s): metrics-flusher)" in (
            server.banner("preload")
        )
        assert len(server.worker_pids()) == 2
        assert server.get("/").body == b"hello"


@pytest.mark.parametrize("arguments", [(), ("--no-preload",)], ids=["preloaded", "plain"])
def test_wsgi_is_served_too(arguments: tuple[str, ...]) -> None:
    """In threads of the same workers."""
    with Running(f"{MODULE}:wsgi", *LIMIT, "--workers", "1", *arguments) as server:
        assert [int(server.get("/").body)] == server.worker_pids()


def test_ctrl_c_stops_the_server() -> None:
    """In the supervisor alone, although a terminal sends it to every process."""
    with Running(APP, *LIMIT) as server:
        tree = Ends(server.tree())
        for pid in server.tree():
            os.kill(pid, signal.SIGINT)
        assert server.await_end(tree) == 0
    assert "stopping: finishing what has begun" in server.log


def test_a_second_signal_ends_at_once() -> None:
    """Whoever asks twice does not want to wait for a request of half a minute."""
    with Running(APP, *LIMIT) as server:
        client = threading.Thread(target=_ask_in_vain, args=(server,))
        client.start()
        await_true(lambda: _in_flight(server), "the request has begun")
        tree = Ends(server.tree())
        begun = time.monotonic()
        server.send(signal.SIGTERM)
        await_true(lambda: "stopping:" in server.log, "stopping")
        server.send(signal.SIGINT)
        server.await_end(tree)
        assert time.monotonic() - begun < 3.0
        client.join()


def test_the_same_signal_sent_twice_is_one() -> None:
    """As `timeout` does, and some platforms: what is under way is finished."""
    with Running(APP, *LIMIT) as server, server.connect() as client:
        client.sendall(b"GET /work?mb=1&ms=700 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await_true(lambda: _in_flight(server), "the request has begun")
        server.send(signal.SIGTERM)
        await_true(lambda: "stopping:" in server.log, "stopping")
        server.send(signal.SIGTERM)
        with client.makefile("rb") as answer:
            assert b"200 OK" in answer.readline()
    assert "ending at once" not in server.log


def test_the_time_to_stop_ends() -> None:
    """A worker stuck in a call that nobody can interrupt is ended then."""
    with Running(APP, *LIMIT, "--stop-seconds", "0.5") as server:
        client = threading.Thread(target=_ask_in_vain, args=(server, "/stuck?seconds=30"))
        client.start()
        await_true(lambda: _in_flight(server), "the request has begun")
        assert server.stop(within_seconds=5.0) == 0
        client.join()
    assert "the time to stop is up: ending 1 worker(s)" in server.log


def test_the_applications_own_shutdown_has_time_left() -> None:
    """A request that lasts too long is cancelled before the time to stop is up, not at its end."""
    arguments = (*LIMIT, "--workers", "1", "--stop-seconds", "2")
    with Running(APP, *arguments) as server, server.connect() as client:
        (worker,) = server.worker_pids()
        client.sendall(b"GET /work?mb=1&ms=20000 HTTP/1.1\r\nHost: a\r\n\r\n")
        await_true(lambda: _in_flight(server), "the request has begun")
        assert server.stop(within_seconds=5.0) == 0
    assert "the time to stop is up: cancelling 1 request(s)" in server.log
    assert f"lifespan shutdown in {worker}" in server.log
    assert "ending 1 worker(s)" not in server.log


@pytest.mark.parametrize(
    ("preload", "words"),
    [
        ("--preload", "importing the application took more than 1 s; see --start-seconds"),
        ("--no-preload", "it was not ready within 1 s, see --start-seconds"),
    ],
)
def test_an_import_that_takes_too_long_ends_the_server(
    tmp_path: Path, preload: str, words: str
) -> None:
    """Exit status 1 with the reason, long before it is over; no process and no port are left."""
    (tmp_path / "slow.py").write_text(SLOW_IMPORT)
    port = free_port()
    arguments = ("--app-dir", str(tmp_path), "--port", str(port), "--start-seconds", "1", preload)

    begun = time.monotonic()
    ended = run_to_end("slow:app", *arguments, *LIMIT, "--workers", "1", cwd=tmp_path)

    assert ended.returncode == 1
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - begun < 10.0
    assert _left_of([int((tmp_path / "importing").read_text())]) == []
    socket.create_server(("127.0.0.1", port)).close()


def test_sigterm_during_the_import_ends_at_once(tmp_path: Path) -> None:
    """A deployment that is taken back need not wait for an application that nobody will use."""
    (tmp_path / "slow.py").write_text(SLOW_IMPORT)
    marker = tmp_path / "importing"
    with subprocess.Popen(
        command(["slow:app", "--app-dir", str(tmp_path), "--port", "0", *LIMIT]),
        cwd=tmp_path,
        env=clean_environment() | {"XDG_RUNTIME_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        await_true(lambda: marker.exists() and marker.read_text(), "the import has begun")
        tree = [process.pid, *descendants(process.pid)]
        assert len(tree) == 2
        begun = time.monotonic()
        process.terminate()
        _, stderr = process.communicate(timeout=5.0)

    assert process.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - begun < 2.0
    assert "Traceback" not in stderr
    assert _left_of(tree) == []


def test_a_zygote_that_is_killed_is_replaced() -> None:
    """Workers go on meanwhile, and one that dies later has a successor."""
    with Running(APP, *LIMIT, "--workers", "1") as server:
        (worker,), zygote = server.worker_pids(), server.zygote_pid()
        os.kill(zygote, signal.SIGKILL)
        await_true(lambda: f"the zygote (pid {zygote}) ended" in server.log, "its end in the log")
        assert server.get("/").headers["x-worker"] == str(worker)

        os.kill(worker, signal.SIGKILL)
        new = int(server.get("/").headers["x-worker"])

        assert new != worker
        assert await_true(lambda: server.worker_pids() == [new], "the new worker alone")


def test_it_can_be_the_first_process_of_a_container() -> None:
    """It reaps what others leave behind, and the signals that end other processes end it too."""
    alone = ("unshare", "--pid", "--fork", "--mount-proc")
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespace can be made here")
    with Running(APP, *LIMIT, "--workers", "1", wrapper=alone) as server:
        tree = Ends(server.tree())
        supervisor = descendants(server.pid)[0]
        usual = len(descendants(supervisor))
        assert int(server.get("/orphan").body) > 1
        await_true(lambda: len(descendants(supervisor)) == usual, "the orphan was reaped")

        os.kill(supervisor, signal.SIGTERM)
        assert server.await_end(tree) == 0
    assert '"pid":1}' in server.log


def test_a_limit_that_moves_is_followed() -> None:
    """The platform resizes the container while the server runs."""
    need_cgroup()
    with MemoryBox(512 * MIB) as box, Running(APP, "--workers", "1", box=box) as server:
        assert server.health_memory()["memory"]["limit"] == 512
        box.set_limit(384 * MIB)

        await_true(lambda: server.health_memory()["memory"]["limit"] == 384, "384 MB", 15.0)

        assert server.health_memory()["ceiling"] < 384
        assert "the memory limit changed: 384 MB" in server.log
        assert server.get("/work?mb=8&ms=1").status == 200


def _ask_in_vain(server: Running, path: str = "/work?mb=1&ms=30000") -> None:
    with pytest.raises(OSError, match=r"."):
        server.get(path)


def _left_of(pids: list[int]) -> list[int]:
    """Return which of *pids* still run."""
    ends = Ends(pids)
    left = ends.await_all(2.0)
    ends.close()
    return left


def _in_flight(server: Running) -> int:
    workers = server.ask_supervisor("/health/memory").json()["workers"]
    return sum(int(worker["inFlight"]) for worker in workers)


def test_a_child_that_the_application_ends_is_not_the_worker() -> None:
    """A signal for it does not reach the worker, and it may take what the worker may not."""
    with Running(APP, "--memory", "512M", "--workers", "1") as server:
        workers = server.worker_pids()
        expected = f"{resource.RLIM_INFINITY} {-signal.SIGTERM}"
        for _ in range(3):
            assert server.get("/child").body.decode() == expected
        assert server.get("/").status == 200
        assert server.worker_pids() == workers
    assert "ended with status" not in server.log
