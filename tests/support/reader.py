"""A reader who types what a page says, block by block: files, servers, commands.

    with Reader(page, directory, variables, start) as reader:
        reader.follow()

A block of Python is written to the file, or added to it where it is no whole program; ``tonnage
run`` starts a server, which begins anew when the file has changed; each command of the console is
given to a shell, and what it prints has to be like what the page shows. Installing is left out, and
so is what shows the present until it is ended.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

from tests.support.cgroup import MemoryBox
from tests.support.pages import ROOT, Block, blocks, is_like, told, words
from tests.support.server import Running

from tonnage.units import MIB

#: Starts a server with the arguments of ``tonnage run``.
Start = Callable[[list[str]], AbstractContextManager[Running]]

TUTORIAL = ROOT / "docs" / "tutorial" / "first-app.md"
_FILE = "main.py"
# A whole program begins so.
_WHOLE = "import asyncio\n"
_PORT = ":8000"
_NOT_TYPED = ("mkdir ", "python3 -m venv", ". .venv", "pip install", "tonnage top")
_LONGEST_SECONDS = 60.0


class Reader:
    """Follows *page* in *directory*, in a shell with *variables*."""

    def __init__(
        self, page: Path, directory: Path, variables: Mapping[str, str], start: Start
    ) -> None:
        self._blocks = list(blocks(page))
        self._directory = directory
        self._variables = variables
        self._start = start
        self._arguments: list[str] = []
        self._server: Running | None = None
        self._stack = ExitStack()
        #: The lines that were typed.
        self.typed: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def follow(self) -> None:
        """Do what the blocks say, in their order, and press Ctrl-C in the end.

        Raises:
            AssertionError: a command fails, or prints something else than the page shows.
        """
        for block in self._blocks:
            if block.language == "python":
                self._write(block.text)
            for line, shown in _typed(block):
                if line.startswith("tonnage run "):
                    self._arguments = line.split()[2:]
                elif not line.startswith(_NOT_TYPED):
                    self._type(line, shown)
        self._interrupt()

    def _write(self, text: str) -> None:
        self._interrupt()
        file = self._directory / _FILE
        file.write_text(text if text.startswith(_WHOLE) else f"{file.read_text()}\n\n{text}")

    def _type(self, line: str, shown: list[str]) -> None:
        if self._server is None and self._arguments:
            self._server = self._stack.enter_context(self._start(self._arguments))
        port = f":{self._server.port}" if self._server is not None else _PORT
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line.replace(_PORT, port)],
            cwd=self._directory,
            env=dict(self._variables),
            capture_output=True,
            text=True,
            timeout=_LONGEST_SECONDS,
        )
        said = f"$ {line}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        assert unlike(shown, done.stdout) == [], said
        self.typed.append(line)

    def _interrupt(self) -> None:
        """Press Ctrl-C, if a server runs."""
        server, self._server = self._server, None
        if server is not None:
            assert server.stop(signal.SIGINT) == 0, server.log


def _typed(block: Block) -> list[tuple[str, list[str]]]:
    """Return each line that a reader types of *block*, with what is shown below it."""
    if block.language == "sh":
        return [(line, []) for line in block.text.splitlines() if line]
    return told(block) if block.language == "console" else []


def unlike(shown: Iterable[str], printed: str) -> list[str]:
    """Return which lines of *shown* are not like what was *printed*.

    Most words have to be there, as figures differ each time; of JSON, the names of its members.
    """
    real = set(words(printed))
    names = [json.loads(line).keys() for line in printed.splitlines() if line[:1] == "{"]
    return [
        line
        for line in shown
        if not (json.loads(line).keys() in names if line[:1] == "{" else is_like(line, real))
    ]


def follow_tutorial(
    project: Path, programs: Path, variables: Mapping[str, str], python: str
) -> None:
    """Follow the tutorial in *project*, within a real limit of 512 MB.

    Args:
        project: the directory to make and to work in.
        programs: where ``tonnage`` is.
        variables: those of the shell.
        python: the interpreter of the server.

    Raises:
        AssertionError: something is not as the tutorial says, or the kernel has killed.
    """
    project.mkdir()
    # A short path, since it is a socket's.
    with tempfile.TemporaryDirectory(prefix="tonnage-") as runtime, MemoryBox(512 * MIB) as box:
        # Where servers are found, and what they leave behind.
        places = {"XDG_RUNTIME_DIR": runtime, "XDG_STATE_HOME": runtime}
        shell = {**variables, **places, "PATH": f"{programs}:{variables['PATH']}"}

        def start(arguments: list[str]) -> Running:
            own = {"PYTHONPATH": variables.get("PYTHONPATH", "")}
            return Running(*arguments, box=box, env=places | own, cwd=project, python=python)

        with Reader(TUTORIAL, project, shell, start) as reader:
            reader.follow()
        assert box.kills() == 0
    assert sum(line.startswith("tonnage ") for line in reader.typed) >= 4
    assert sum("curl " in line for line in reader.typed) >= 8
