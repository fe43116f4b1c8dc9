"""What deployment files start: each command is run as its platform runs it, and stopped."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.support.cgroup import MemoryBox, why_not
from tests.support.ports import free_port
from tests.support.server import clean_environment, connection_to, exchange
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

from tonnage.cli.main import main
from tonnage.units import MIB

yaml: Any = pytest.importorskip("yaml")
pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})
"""


def _shell(line: str) -> list[str]:
    # As platforms do; exec, so that the signal is the server's whatever shell this is.
    return ["sh", "-c", f"exec {line}"]


def _docker(files: Mapping[str, str]) -> list[str]:
    found: list[str] = json.loads(files["Dockerfile"].rpartition("\nCMD ")[2])
    return found


def _compose(files: Mapping[str, str]) -> list[str]:
    found: list[str] = yaml.safe_load(files["compose.yaml"])["services"]["app"]["command"]
    return found


def _kubernetes(files: Mapping[str, str]) -> list[str]:
    pod = next(yaml.safe_load_all(files["kubernetes.yaml"]))["spec"]["template"]["spec"]
    found: list[str] = pod["containers"][0]["command"]
    return found


def _systemd(files: Mapping[str, str]) -> list[str]:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(files["shop.service"])
    binary, *words = shlex.split(unit["Service"]["ExecStart"].replace("%%", "%"))
    return [Path(binary).name, *words]


def _procfile(files: Mapping[str, str]) -> list[str]:
    return _shell(re.findall(r"^web: (.*)$", files["Procfile"], re.MULTILINE)[0])


def _render(files: Mapping[str, str]) -> list[str]:
    return _shell(yaml.safe_load(files["render.yaml"])["services"][0]["startCommand"])


def _railway(files: Mapping[str, str]) -> list[str]:
    return shlex.split(tomllib.loads(files["railway.toml"])["deploy"]["startCommand"])


def _fly(files: Mapping[str, str]) -> list[str]:
    return shlex.split(tomllib.loads(files["fly.toml"])["processes"]["app"])


COMMANDS: Mapping[str, Callable[[Mapping[str, str]], list[str]]] = {
    "render": _render,
    "railway": _railway,
    "fly": _fly,
    "heroku": _procfile,
    "docker": _docker,
    "compose": _compose,
    "kubernetes": _kubernetes,
    "systemd": _systemd,
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a project called shop, with an application."""
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "main.py").write_text(APP)
    monkeypatch.chdir(shop)
    return shop


@pytest.mark.parametrize("platform", sorted(COMMANDS))
def test_the_start_command_starts(platform: str, shop: Path) -> None:
    """In the memory of the plan it answers on $PORT, and ends with 0 at SIGTERM."""
    assert main(["init", platform, "main:app", "--threads", "2", "--warning-at", "70%"]) == 0
    files = {path.name: path.read_text() for path in shop.iterdir() if path.is_file()}
    port = free_port()
    # Heroku makes up a number of workers; systemd's unit names the port itself.
    env = {"PORT": str(port), "WEB_CONCURRENCY": "2"} if platform == "heroku" else {}
    env |= {"TONNAGE_PORT" if platform == "systemd" else "PORT": str(port)}
    with _started(COMMANDS[platform](files), env, shop) as server:
        # The last line of the banner that is always there: every worker accepts.
        await_true(lambda: "\n  wake-ups " in _log(shop), "the banner", 30)
        assert _health(port) == 200
        if platform == "docker":
            _check_by_the_image(files["Dockerfile"], env)
        server.send_signal(signal.SIGTERM)
        status = server.wait(20 * SLOWNESS)
        log = _log(shop)
        assert status == 0, log
    assert "512 MB" in log
    assert "WARNING    from 358 MB" in log
    assert re.search(r"^  workers +1, .* 2 threads each", log, re.MULTILINE)


def test_the_release_step_migrates(tmp_path: Path) -> None:
    """The command that render.yaml of FitFlix has makes its tables."""
    command = yaml.safe_load((EXAMPLES / "fitflix" / "render.yaml").read_text())["services"][0]
    shutil.copytree(EXAMPLES / "fitflix" / "fitflix", tmp_path / "fitflix")
    url = f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    words = _found(shlex.split(command["preDeployCommand"]))
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env=clean_environment() | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=30 * SLOWNESS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "shop.sqlite3").stat().st_size > 0


@contextmanager
def _started(
    words: list[str], env: Mapping[str, str], directory: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start *words* with *env*, in a box with the plan's memory where one can be made."""
    box = MemoryBox(512 * MIB) if why_not() is None else nullcontext()
    runtime = directory / "run"
    runtime.mkdir()
    told = {"XDG_RUNTIME_DIR": str(runtime), "TONNAGE_MEMORY": "512M", **env}
    with box as inside, (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            _found(words),
            cwd=directory,
            env=clean_environment() | told,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=inside.enter if inside is not None else None,
        )
        try:
            yield server
        finally:
            if server.poll() is None:
                server.kill()
            server.wait()


def _log(directory: Path) -> str:
    return (directory / "log").read_text(errors="replace")


def _found(words: list[str]) -> list[str]:
    """Return *words* with this interpreter's Tonnage for the one of the PATH."""
    ours = f"{shlex.quote(sys.executable)} -m tonnage"
    if words[0] == "sh":
        return [*words[:2], words[2].replace("exec tonnage", f"exec {ours}", 1)]
    assert words[0] == "tonnage"
    return [*shlex.split(ours), *words[1:]]


def _health(port: int) -> int:
    with connection_to(f"http://127.0.0.1:{port}", 5) as connection:
        return exchange(connection, "GET", "/health").status


def _check_by_the_image(dockerfile: str, env: Mapping[str, str]) -> None:
    """Run the image's own health check: right while the server is there, wrong elsewhere."""
    words = json.loads(re.findall(r"^    CMD (\[.*\])$", dockerfile, re.MULTILINE)[0])
    assert words[0] == "python"
    for port, status in ((env["PORT"], 0), (str(free_port()), 1)):
        done = subprocess.run(
            [sys.executable, *words[1:]],
            env={"PATH": os.environ["PATH"], "PORT": port},
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=10 * SLOWNESS,
        )
        assert done.returncode == status
