"""What help, the version and the supervisor import: held by names, which no load changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.server import Running, clean_environment

from tonnage import __version__

# Notes each module that is looked for in its process, in those it forks and in what it executes,
# as "PID NAME". An audit hook would miss those of importlib.import_module.
_NOTING = """
import os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
class Noting:
    def find_spec(name, path=None, target=None):
        os.write(log, f"{os.getpid()} {name}\\n".encode())
sys.meta_path.insert(0, Noting)
sys.argv[1:] = sys.argv[sys.argv.index("tonnage") + 1:]
from tonnage.cli.main import main
raise SystemExit(main())
"""

#: Of the standard library: what takes a megabyte or more, and what is for others.
HEAVY = {
    *("asyncio", "concurrent", "difflib", "email", "hashlib", "http", "lzma", "multiprocessing"),
    *("random", "shutil", "ssl", "subprocess", "tempfile", "tomllib", "unicodedata", "zipfile"),
}
#: Of ours, all that help needs. It needs argparse besides, and what that needs.
FOR_HELP = {
    *("tonnage", "tonnage.errors"),
    *("tonnage.cli", "tonnage.cli.main", "tonnage.cli.table"),
}
NOT_FOR_HELP = HEAVY | {
    *("ctypes", "dataclasses", "datetime", "inspect", "json", "logging", "pathlib", "socket"),
    *("threading", "typing", "urllib"),
}
#: Of ours, what a worker has: the zygote imports it, and is forked before the supervisor goes on.
OF_WORKERS = {
    *("tonnage.server.http", "tonnage.server.protocol", "tonnage.server.worker"),
    *("tonnage.web.gate", "tonnage.web.guard"),
}


def imported(log: Path, pid: int | None = None) -> set[str]:
    """Return what the process *pid*, or any, has imported, and the packages that this is in."""
    lines = [line.split() for line in log.read_text().splitlines()]
    names = {name for process, name in lines if pid is None or process == str(pid)}
    return names | {name.partition(".")[0] for name in names}


def noting(log: Path) -> list[str]:
    """Return the beginning of a command line that ends with ``tonnage`` and its arguments."""
    return [sys.executable, "-c", _NOTING, str(log)]


@pytest.mark.parametrize(
    ("flag", "said"),
    [("--help", "usage: tonnage COMMAND"), ("--version", f"tonnage {__version__}")],
)
def test_help_imports_next_to_nothing(flag: str, said: str, tmp_path: Path) -> None:
    """No command, no option, and of Python hardly more than argparse."""
    log = tmp_path / "imports"
    # Without site, so that nothing which an environment starts by itself is there before.
    command = [*noting(log), "tonnage", flag]
    command.insert(1, "-S")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=clean_environment(), text=True
    ) as process:
        printed = process.communicate()[0]

    assert printed.startswith(said)
    found = imported(log, process.pid)
    assert {name for name in found if name.partition(".")[0] == "tonnage"} == FOR_HELP
    assert found & NOT_FOR_HELP == set()


def test_python_m_is_the_same_command() -> None:
    """``python -m tonnage`` is there where no script was installed."""
    command = [sys.executable, "-m", "tonnage", "--version"]
    environment = clean_environment()
    printed = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert printed.stdout == f"tonnage {__version__}\n"


@pytest.mark.real
def test_the_supervisor_imports_no_server(tmp_path: Path) -> None:
    """Nor an event loop, TLS or HTTP; what tidies up is imported at the end."""
    log = tmp_path / "imports"
    # Where no pyproject.toml lies, which would take tomllib.
    with Running(
        "benchmarks.app:app", "--workers", "1", wrapper=noting(log), cwd=tmp_path
    ) as server:
        assert server.get("/health").status == 200
        found = imported(log, server.pid)

    assert {"tonnage.server.supervisor", "logging"} <= found
    assert found & (HEAVY | OF_WORKERS) == set()
    packages = {"benchmarks", "httptools", "starlette", "uvicorn"}
    assert found & packages == set()
    # What is forbidden is still called so, and is imported by those who need it.
    assert OF_WORKERS | packages <= imported(log)
