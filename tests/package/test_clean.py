"""The wheel in environments of its own: each extra alone, installed from the index.

Minutes, and a network: ``make package``. What is held at every ``make test`` is in its neighbours.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

import pytest
from tests.package.building import ROOT, Built, build
from tests.package.promised import PROMISED
from tests.support.cgroup import need_cgroup
from tests.support.reader import follow_tutorial
from tests.support.server import clean_environment

pytestmark = [pytest.mark.real, pytest.mark.soak]

# The README's two kinds of application.
APPLICATIONS = {
    "fastapi": """
from fastapi import FastAPI
app = FastAPI()
app.add_api_route("/", lambda: "hello")
""",
    "flask": """
from flask import Flask
app = Flask("app")
app.add_url_rule("/", view_func=lambda: "hello")
""",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return both, built once."""
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the versions of requirements/run.txt: hashes would be asked of our own wheel too."""
    text = (ROOT / "requirements" / "run.txt").read_text()
    path = tmp_path_factory.mktemp("pins") / "pins.txt"
    path.write_text("\n".join(re.findall(r"^[\w.-]+==\S+", text, re.MULTILINE)))
    return path


class Environment:
    """A virtual environment with the wheel, one extra, and nothing else, not even pip."""

    def __init__(self, directory: Path, wheel: Path, extra: str, pins: Path) -> None:
        venv.create(directory / "venv")
        self.bin = directory / "venv" / "bin"
        self.directory = directory
        wanted = f"{wheel}[{extra}]" if extra else str(wheel)
        self._pip("install", "--quiet", "--constraint", str(pins), wanted)
        self._pip("check")

    def _pip(self, *arguments: str) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "--python", self.bin / "python", *arguments], check=True)

    def run(self, *command: str) -> str:
        """Run a program of the environment in its directory; return what it printed."""
        return subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=self.directory,
            env=outside(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout


def outside() -> dict[str, str]:
    """Return the variables of a shell that knows nothing of the checkout."""
    return {name: value for name, value in clean_environment().items() if name != "PYTHONPATH"}


@pytest.mark.parametrize("extra", PROMISED)
def test_an_extra_alone_is_enough(extra: str, built: Built, pins: Path, tmp_path: Path) -> None:
    """It installs, nothing that it needs is missing, and it does what it promises."""
    environment = Environment(tmp_path, built.wheel, extra, pins)
    assert environment.run("tonnage", "--help").startswith("usage: tonnage COMMAND")
    environment.run("python", "-c", PROMISED[extra])


@pytest.mark.parametrize("framework", APPLICATIONS)
def test_an_application_as_in_the_readme(
    framework: str, built: Built, pins: Path, tmp_path: Path
) -> None:
    """Planned, run, asked, and stopped."""
    environment = Environment(tmp_path, built.wheel, framework, pins)
    (tmp_path / "main.py").write_text(APPLICATIONS[framework])
    assert "zygote" in environment.run("tonnage", "plan", "main:app", "--memory", "512M")
    tonnage = str(environment.bin / "tonnage")
    command = [tonnage, "run", "main:app", "--port", "0", "--memory", "512M"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=outside(), stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            url = printed_url(server)
            assert b"hello" in urlopen(url).read()
            assert urlopen(f"{url}/health/memory").status == 200
            assert "memory OK" in environment.run("tonnage", "status")
        finally:
            server.send_signal(signal.SIGTERM)
    assert server.returncode == 0


def test_the_tutorial(built: Built, pins: Path, tmp_path: Path) -> None:
    """With nothing but the wheel and its extra, as the tutorial installs them."""
    need_cgroup()
    environment = Environment(tmp_path, built.wheel, "fastapi", pins)
    python = str(environment.bin / "python")
    follow_tutorial(tmp_path / "shop", environment.bin, outside(), python)


def printed_url(server: subprocess.Popen[str]) -> str:
    """Return the application's URL out of the banner, which is printed when it answers."""
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.match(r"  app +(http\S+)", line):
            return found[1]
    raise AssertionError("it ended without a banner")


def test_types_are_known_to_those_who_install_it(built: Built, pins: Path, tmp_path: Path) -> None:
    """``mypy --strict`` checks an application against the wheel."""
    environment = Environment(tmp_path, built.wheel, "", pins)
    code = tmp_path / "typed_api.py"
    code.write_bytes((ROOT / "tests" / "package" / "typed_api.py").read_bytes())
    checked = mypy("--python-executable", str(environment.bin / "python"), str(code))
    assert checked.returncode == 0, checked.stdout
    # Without the mark all of it would be Any, and the complaint would be another.
    (marked,) = tmp_path.glob("venv/lib/python*/site-packages/tonnage/py.typed")
    marked.unlink()
    checked = mypy("--python-executable", str(environment.bin / "python"), str(code))
    assert "module is installed, but missing library stubs or py.typed" in checked.stdout


def mypy(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Check as an application does that has no settings."""
    command: Sequence[str] = [sys.executable, "-m", "mypy", "--strict", "--config-file", ""]
    return subprocess.run(
        [*command, "--cache-dir", "/dev/null", *arguments],
        cwd=Path(arguments[-1]).parent,
        env=outside(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_same_source_makes_the_same_files(built: Built, tmp_path: Path) -> None:
    """Byte for byte: who builds it anew can compare."""
    again = build(tmp_path)
    assert again.sdist.read_bytes() == built.sdist.read_bytes()
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
