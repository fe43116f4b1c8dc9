"""What the reference backends import of Tonnage: names that are there for everybody."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from tests.support.server import ROOT

# Each with a menu of its own: its docstring, and ``__all__`` where it has one.
PUBLIC = {
    "tonnage",
    "tonnage.db",
    "tonnage.errors",
    "tonnage.images",
    "tonnage.images.kit",
    "tonnage.sinks",
}
BACKENDS = ("eventide", "fibuca", "fitflix", "hello", "lvlup")


@pytest.mark.parametrize("example", BACKENDS)
def test_examples_use_public_names_alone(example: str) -> None:
    """Whoever copies from them depends on nothing that may change unsaid."""
    used = set(names_used(ROOT / "examples" / example))
    assert used
    for module, name in used:
        assert module in PUBLIC, f"{example} imports {name} from {module}"
        menu = getattr(import_module(module), "__all__", None)
        is_there = hasattr(import_module(module), name) if menu is None else name in menu
        assert is_there or f"{module}.{name}" in PUBLIC, f"{example} uses {module}.{name}"


def names_used(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield a module and a name of it for all that the files in *directory* take from Tonnage."""
    for path in directory.rglob("*.py"):
        tree = ast.parse(path.read_text())
        # What each name stands for, where it is a module: ``db``, ``images``, ``tonnage``.
        modules = dict[str, str]()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules |= {
                    each.asname or each.name: each.name
                    for each in node.names
                    if each.name.partition(".")[0] == "tonnage"
                }
            elif (
                isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tonnage"
            ):
                for each in node.names:
                    yield f"{node.module}", each.name
                    if f"{node.module}.{each.name}" in PUBLIC:
                        modules[each.asname or each.name] = f"{node.module}.{each.name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and (module := modules.get(ast.unparse(node.value))):
                yield module, node.attr
