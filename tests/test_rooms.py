"""The rooms of the package: dependencies point one way, as docs/architecture.md draws them.

Every import counts, also one inside a function and one for type checkers alone; so does a module
that is named in a text, to be run. All of it is knowledge of a neighbour. A room is a module or
package right below ``tonnage``.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.server import clean_environment

import tonnage

SOURCE = Path(tonnage.__file__).parent

#: From the bottom up: a room imports from lower floors, and never from a higher one.
FLOORS = (
    ("answer", "breaker", "checks", "errors", "problem", "spelling", "units"),
    ("host", "rates"),
    ("config", "options", "rules", "settings"),
    ("budget",),
    ("governor", "logs"),
    ("db", "images", "jobs", "ops", "stores", "web"),
    ("server",),
    ("commands",),
    ("__main__", "cli"),
)

#: Menus: they name what lies anywhere, and load it when it is used. They are nobody's floor.
MENUS = ("__init__", "sinks")

#: Who knows whom on the same floor. There are circles in it, which should become fewer.
NEIGHBOURS = {
    "config": {"options", "rules", "settings"},
    "db": {"stores", "web"},
    "errors": {"problem"},
    "checks": {"errors"},
    "images": {"jobs", "stores", "web"},
    "jobs": {"ops", "stores", "web"},
    "__main__": {"cli"},
    "ops": {"db", "jobs", "stores", "web"},
    "problem": {"answer", "errors", "units"},
    "rates": {"host"},
    "settings": {"options"},
    "units": {"errors"},
    "web": {"ops", "stores"},
}

#: Against the direction, each for a reason. A line that is not needed any more fails too.
UPWARDS = {
    # Where no server of ours runs, the owner of jobs is started as a program of its own.
    ("tonnage.jobs.outside", "tonnage.server.jobs.elsewhere"),
}

#: With these a module could read, write, wait or start something.
TOUCHING = {
    *("asyncio", "ctypes", "fcntl", "io", "mmap", "multiprocessing", "os", "pathlib", "resource"),
    *("select", "selectors", "shutil", "signal", "socket", "subprocess", "tempfile", "urllib"),
}


class Import(NamedTuple):
    """One module names another."""

    importer: str
    imported: str


@cache
def modules() -> dict[str, ast.Module]:
    """Return all modules of the package by name, parsed."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = ("tonnage", *path.relative_to(SOURCE).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text())
    return found


@cache
def imports() -> frozenset[Import]:
    """Return all imports of the package, of what is its own and of what is not."""
    return frozenset(
        Import(importer, imported)
        for importer, tree in modules().items()
        for node in ast.walk(tree)
        for imported in _named_by(node)
    )


def _named_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"a relative import of {node.module}: write the whole name"
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if submodule in modules() else str(node.module)
    elif isinstance(node, ast.Constant) and str(node.value).count(".") > 1:
        # With one dot it may be a logger's name.
        yield from {str(node.value)} & modules().keys()


def room(module: str) -> str:
    """Return the room of *module*; the package itself is ``__init__``."""
    return module.split(".")[1] if "." in module else "__init__"


def floor(module: str) -> int:
    """Return how high the room of *module* lies."""
    return next(height for height, rooms in enumerate(FLOORS) if room(module) in rooms)


def between_rooms() -> list[Import]:
    """Return the imports of one room's modules from another's, menus left out."""
    return sorted(
        each
        for each in imports()
        if each.imported.split(".")[0] == "tonnage"
        and room(each.importer) != room(each.imported)
        and not {room(each.importer), room(each.imported)} & set(MENUS)
    )


def test_every_room_has_its_floor() -> None:
    """One that is new is put where it belongs, here and in the picture."""
    rooms = sorted({room(module) for module in modules()} - set(MENUS))
    assert rooms == sorted(each for floor in FLOORS for each in floor)


def test_nothing_imports_from_a_floor_above() -> None:
    """But for what is listed; and nothing is listed that is no more."""
    upwards = {each for each in between_rooms() if floor(each.imported) > floor(each.importer)}
    assert upwards == UPWARDS


def test_rooms_of_one_floor_know_no_more_neighbours() -> None:
    """A new one is worth a thought: each makes a part harder to use alone."""
    level: dict[str, set[str]] = {}
    for importer, imported in between_rooms():
        if floor(imported) == floor(importer):
            level.setdefault(room(importer), set()).add(room(imported))
    assert level == NEIGHBOURS


def test_menus_are_only_for_applications() -> None:
    """Of the package itself the rooms take its version; of the others nothing."""
    taken = {
        alias.name
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("tonnage", "tonnage.sinks")
        for alias in node.names
        if f"tonnage.{alias.name}" not in modules()
    }
    assert taken == {"__version__"}


@pytest.mark.parametrize("decides", ["budget", "governor"])
def test_who_decides_touches_nothing(decides: str) -> None:
    """The shared page is the one exception: a mapping that is made before anyone is forked."""
    touched = {
        (each.importer, each.imported.split(".")[0])
        for each in imports()
        if room(each.importer) == decides and each.imported.split(".")[0] in TOUCHING
    }
    assert touched <= {("tonnage.governor.page", "mmap")}


def test_what_applications_use_brings_no_server() -> None:
    """All of the menu together, loaded in a process of its own."""
    code = (
        "import json, sys, tonnage\n"
        "for name in tonnage.__all__: getattr(tonnage, name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
    )
    loaded = json.loads(run.stdout)
    assert "tonnage.stores.cache" in loaded
    forbidden = ("tonnage.server", "tonnage.cli", "uvicorn", "starlette")
    assert [name for name in loaded if name.startswith(forbidden)] == []
