"""The sdist and the wheel: what is in them, and that the wheel by itself is all of Tonnage."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from tests.package.building import ROOT, Built, build
from tests.support.server import Running, clean_environment

SOURCE = ROOT / "src" / "tonnage"

#: Beside the package: what the backend needs or adds, and what a reader of an sdist looks for.
BESIDE = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}

# As in the README: an application that knows nothing of Tonnage.
MAIN = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": __import__("tonnage").__file__.encode()})
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return both, built once."""
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory with the wheel's packages, as an installer lays them out."""
    directory = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(built.wheel) as wheel:
        wheel.extractall(directory)
    return directory


def files_in(directory: Path) -> dict[str, bytes]:
    """Return all files below *directory*, without what Python has compiled."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_sdist_has_the_package_and_little_else(built: Built) -> None:
    """No tests, no pages, and nothing that lies about in a checkout."""
    found = files_in(built.source).keys()
    assert {name for name in found if not name.startswith("src/tonnage/")} == BESIDE


def test_the_wheel_has_every_file_of_the_package(built: Built, installed: Path) -> None:
    """Byte for byte, with the pages of the browser and the mark that it is typed."""
    assert files_in(installed / "tonnage") == files_in(SOURCE)
    assert (installed / "tonnage" / "py.typed").is_file()
    assert [path.name for path in installed.iterdir() if path.suffix != ".dist-info"] == ["tonnage"]


def test_the_wheel_says_what_pyproject_says(installed: Path) -> None:
    """The extras, the licence with its text, the command."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (info,) = installed.glob("*.dist-info")
    said = message_from_bytes((info / "METADATA").read_bytes())
    extras = {name.replace("_", "-") for name in project["optional-dependencies"]}
    assert set(said.get_all("Provides-Extra", [])) == extras
    assert said["License-Expression"] == project["license"]
    assert (info / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert "tonnage = tonnage.cli.main:main" in (info / "entry_points.txt").read_text()


def test_nothing_of_this_machine_is_in_them(built: Built, installed: Path) -> None:
    """No path of the checkout, of its environment or of a home, and no time of the build."""
    here = {str(ROOT), sys.prefix, str(Path.home())} - {"/", "/usr", "/usr/local"}
    texts = {**files_in(built.source), **files_in(installed)}
    assert [
        (name, path) for name, text in texts.items() for path in here if f"{path}/".encode() in text
    ] == []
    with zipfile.ZipFile(built.wheel) as wheel:
        assert len({entry.date_time for entry in wheel.infolist()}) == 1


@pytest.mark.real
def test_the_wheel_serves_an_application(installed: Path, tmp_path: Path) -> None:
    """From a directory that is no checkout, as the README has it."""
    (tmp_path / "main.py").write_text(MAIN)
    environment = clean_environment() | {"PYTHONPATH": str(installed)}
    told = subprocess.run(
        [sys.executable, "-m", "tonnage", "plan", "main:app", "--memory", "512M"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith("Memory limit 512 MB: set by --memory")
    with Running("main:app", env={"PYTHONPATH": str(installed)}, cwd=tmp_path) as server:
        assert server.get("/").body.decode() == os.fspath(installed / "tonnage" / "__init__.py")
        assert server.get("/health/memory").json()["status"] == "OK"
