"""Print how large and how tangled the code is, beside projects that people like to read, or fear.

python scripts/code_numbers.py                 the tables of docs/architecture.md
python scripts/code_numbers.py SOURCE TESTS    the figures of another package and its tests

Code lines hold code: no docstrings, comments and blank lines. A class or function is as long as its
lines from first to last. Functions are also those within others, without overloads. Attributes are
those that a class's own body assigns on ``self``, and its annotated fields. A broad ``except``
names ``Exception``, ``BaseException`` or nothing. A mock is a call of ``Mock``, ``MagicMock``,
``AsyncMock`` or ``patch``, or what ``monkeypatch`` does to objects: ``setattr``, ``delattr``,
``setitem``, ``delitem``. A test is a function, however often it is parametrised. Modules of one
line count, and have no part in the median.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).parent.parent
LONG_FILE_LINES: Final = 800
LONG_FUNCTION_LINES: Final = 50
_MOCK: Final = re.compile(
    r"\b(?:Mock|MagicMock|AsyncMock)\(|(?:\bmock\.|(?<![\w.]))patch(?:\.(?:object|dict))?\("
    r"|\bmonkeypatch\.(?:set|del)(?:attr|item)\("
)
_LAYOUT: Final = frozenset(
    (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
)

TAIL: Final = (
    *("largest class", "files ≥ 800 lines", "functions > 50 code lines", "longest function"),
    *("broad `except` per 1k code", "annotated params / returns", "mocks per 100 tests"),
    "most attributes on one class",
)
SIZE: Final = (
    *("modules", "LOC (code)", "module: median / p90 / max", "function: median / p90"),
    *("docstrings per code line", "comments per code line"),
)
#: Measured in the same way, at releases and commits of 2025 and 2026; ? was not noted.
OTHERS_TAIL: Final = """
starlette 0.47.3 | 372 | 1 | 1.4 % | 149 | 1.4 | 100 / 98 % | 1 | 15
httpx `ae1b9f6` | 713 | 2 | 1.8 % | ? | 1.7 | 100 / 100 % | 0.6 | 17
httpcore 1.0.9 | 518 | 0 | 2.3 % | 103 | 5.1 | 100 / 98 % | 0 | 20
stamina `87ccfa4` | 192 | 1 | 4.1 % | ? | 1.2 | 100 / 93 % | 2 | 11
svcs `7d56b11` | 627 | 1 | 0 % | ? | 2.6 | 100 / 100 % | 10 | 6
anyio `660a06d` | 741 | 4 | 1.0 % | ? | 5.4 | 100 / 97 % | 1 | 13
trio `60d0c2f` | 648 | 8 | 2.1 % | ? | 1.9 | 100 / 100 % | 0.7 | 22
uvicorn `e6c7ce7` | 374 | 0 | 4.3 % | ? | 1.5 | 100 / 96 % | 2 | 55
granian `9a20b17` | 672 | 0 | 5.4 % | ? | 2.7 | 66 / 12 % | 0 | 72
gunicorn `65ac1a3` | 1546 | 7 | 2.7 % | ? | 7.7 | 8 / 7 % | 38 | 31
distributed `40fcd99` | 5161 | 12 | 4.2 % | 361 | 3.2 | 55 / 46 % | 1 | 61
"""
OTHERS_SIZE: Final = """
starlette 0.47.3 | 34 | 6712 (5170) | 145 / 548 / 876 | 5 / 22 | 5 % | 3 %
httpx `ae1b9f6` | 23 | 8827 (5773) | 274 / 641 / 2019 | 6 / 26 | 27 % | 6 %
httpcore 1.0.9 | 31 | 7139 (5111) | 190 / 516 / 592 | 6 / 25 | 13 % | 8 %
stamina `87ccfa4` | 10 | 1512 (801) | 54 / ? / 913 | 6 / 18 | 49 % | 5 %
svcs `7d56b11` | 8 | 2609 (1567) | 273 / ? / 1199 | 7 / 23 | 40 % | 4 %
anyio `660a06d` | 46 | 16268 (10699) | 205 / 778 / 3138 | 4 / 18 | 25 % | 3 %
trio `60d0c2f` | 78 | 25429 (12977) | 182 / 882 / 3139 | 5 / 20 | 45 % | 28 %
uvicorn `e6c7ce7` | 40 | 5780 (4599) | 99 / 539 / 606 | ? | 3 % | 4 %
granian `9a20b17` | 25 | 3913 (3293) | 99 / 525 / 760 | ? | 0 % | 1 %
gunicorn `65ac1a3` | 68 | 24155 (15229) | 201 / 810 / 3298 | 7 / 29 | 22 % | 12 %
distributed `40fcd99` | 171 | 68232 (44557) | 192 / 684 / 9421 | 7 / 31 | 26 % | 7 %
"""


@dataclass(frozen=True, slots=True)
class Sized:
    """How large something is, and where."""

    size: int
    where: str


@dataclass(frozen=True, slots=True)
class Module:
    """What was counted in one file."""

    lines: int
    code_lines: int
    docstring_lines: int
    comment_lines: int
    #: Lines of each, and code lines of each.
    functions: tuple[Sized, ...]
    functions_code: tuple[int, ...]
    #: Lines of each, and attributes of each.
    classes: tuple[Sized, ...]
    attributes: tuple[Sized, ...]
    broad_excepts: int
    #: Parameters and results, and how many of them say their type.
    parameters: tuple[int, int]
    returns: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tests:
    """What was counted in the tests."""

    functions: int
    mocks: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """A package and its tests."""

    modules: tuple[Module, ...]
    tests: Tests

    @property
    def code_lines(self) -> int:
        """How many lines hold code."""
        return sum(each.code_lines for each in self.modules)

    @property
    def longest_function(self) -> Sized:
        """The function of the most lines."""
        return _largest(each.functions for each in self.modules)

    @property
    def largest_class(self) -> Sized:
        """The class of the most lines."""
        return _largest(each.classes for each in self.modules)

    @property
    def most_attributes(self) -> Sized:
        """The class of the most attributes."""
        return _largest(each.attributes for each in self.modules)

    def tail(self) -> tuple[str, ...]:
        """Return the figures that tell admired code from feared code, as :data:`TAIL` has them."""
        functions = [size for module in self.modules for size in module.functions_code]
        long = sum(size > LONG_FUNCTION_LINES for size in functions)
        broad = sum(each.broad_excepts for each in self.modules)
        said = [
            _percent(sum(each[0] for each in counts), sum(each[1] for each in counts))
            for counts in (
                [each.parameters for each in self.modules],
                [each.returns for each in self.modules],
            )
        ]
        return (
            str(self.largest_class.size),
            str(sum(each.lines >= LONG_FILE_LINES for each in self.modules)),
            f"{100 * long / max(1, len(functions)):.1f} %",
            str(self.longest_function.size),
            f"{1000 * broad / self.code_lines:.1f}",
            f"{said[0]} / {said[1]} %",
            f"{100 * self.tests.mocks / max(1, self.tests.functions):.1f}",
            str(self.most_attributes.size),
        )

    def sizes(self) -> tuple[str, ...]:
        """Return the figures that do not tell them apart, as :data:`SIZE` has them."""
        lines = sorted(each.lines for each in self.modules if each.lines > 1)
        functions = sorted(size for module in self.modules for size in module.functions_code)
        code = self.code_lines
        return (
            str(len(self.modules)),
            f"{sum(lines)} ({code})",
            f"{statistics.median(lines):.0f} / {_p90(lines)} / {lines[-1]}",
            f"{statistics.median(functions):.0f} / {_p90(functions)}",
            f"{_percent(sum(each.docstring_lines for each in self.modules), code)} %",
            f"{_percent(sum(each.comment_lines for each in self.modules), code)} %",
        )


def measure(source: Path, tests: Path) -> Numbers:
    """Count all files below *source* and *tests*."""
    modules = tuple(
        count_module(path.read_text(encoding="utf-8"), path.relative_to(source).as_posix())
        for path in sorted(source.rglob("*.py"))
    )
    texts = [path.read_text(encoding="utf-8") for path in tests.rglob("*.py")]
    return Numbers(
        modules,
        Tests(
            sum(len(re.findall(r"^ *(?:async )?def test_", text, re.MULTILINE)) for text in texts),
            sum(len(_MOCK.findall(text)) for text in texts),
        ),
    )


def count_module(text: str, name: str) -> Module:
    """Return what there is in one file of the source."""
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    comments, code = _lines_of(text)
    docstrings = {line for node in nodes for line in _docstring_lines(node)}
    code -= docstrings
    functions = [node for node in nodes if isinstance(node, FUNCTION) and not _is_overload(node)]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    parameters = [each for node in functions for each in _parameters(node)]
    handlers = [node for node in nodes if isinstance(node, ast.ExceptHandler)]
    return Module(
        lines=len(text.splitlines()),
        code_lines=len(code),
        docstring_lines=len(docstrings),
        comment_lines=len(comments - code),
        functions=tuple(Sized(len(_span(node)), f"{name}:{node.name}") for node in functions),
        functions_code=tuple(len(code.intersection(_span(node))) for node in functions),
        classes=tuple(Sized(len(_span(node)), f"{name}:{node.name}") for node in classes),
        attributes=tuple(Sized(_attributes(node), f"{name}:{node.name}") for node in classes),
        broad_excepts=sum(_is_broad(node.type) for node in handlers),
        parameters=(sum(each.annotation is not None for each in parameters), len(parameters)),
        returns=(sum(node.returns is not None for node in functions), len(functions)),
    )


FUNCTION: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def _lines_of(text: str) -> tuple[set[int], set[int]]:
    """Return the lines that have a comment, and those that hold anything else."""
    comments, others = set[int](), set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in _LAYOUT:
            others.update(range(token.start[0], token.end[0] + 1))
    return comments, others


def _docstring_lines(node: ast.AST) -> Iterable[int]:
    """Yield the lines of the docstring that *node* begins with, if it has one."""
    if (
        isinstance(node, (*FUNCTION, ast.ClassDef, ast.Module))
        and ast.get_docstring(node) is not None
    ):
        yield from _span(node.body[0])


def _span(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.arg]:
    """Yield what a function names of its parameters, but for ``self`` and ``cls``."""
    given = node.args
    every = (*given.posonlyargs, *given.args, *given.kwonlyargs)
    yield from (each for each in every if each.arg not in ("self", "cls"))


def _attributes(node: ast.ClassDef) -> int:
    """Return how many attributes the body of a class gives to its objects."""
    names = {
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    for each in ast.walk(node):
        match each:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                names.add(name)
    return len(names)


def _is_broad(caught: ast.expr | None) -> bool:
    several = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(
        each is None or (isinstance(each, ast.Name) and each.id in ("Exception", "BaseException"))
        for each in several
    )


def _is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("overload" in ast.unparse(each) for each in node.decorator_list)


def _largest(groups: Iterable[tuple[Sized, ...]]) -> Sized:
    return max((each for group in groups for each in group), key=lambda each: each.size)


def _p90(values: list[int]) -> int:
    return values[int(0.9 * len(values))]


def _percent(part: int, whole: int) -> int:
    return round(100 * part / max(1, whole))


def tables(ours: Numbers) -> str:
    """Return both tables as Markdown: Tonnage first, then the others."""
    return "\n".join(
        (*_table(TAIL, ours.tail(), OTHERS_TAIL), "", *_table(SIZE, ours.sizes(), OTHERS_SIZE))
    )


def _table(heads: tuple[str, ...], ours: tuple[str, ...], others: str) -> Iterator[str]:
    yield "| | " + " | ".join(heads) + " |"
    yield "|---" * (len(heads) + 1) + "|"
    yield "| **Tonnage** | " + " | ".join(ours) + " |"
    yield from (f"| {line} |" for line in others.strip().splitlines())


if __name__ == "__main__":
    if len(sys.argv) == 3:
        found = measure(Path(sys.argv[1]), Path(sys.argv[2]))
        for head, figure in zip((*TAIL, *SIZE), (*found.tail(), *found.sizes()), strict=True):
            print(f"{head}: {figure}")
        print(found.largest_class, found.longest_function, found.most_attributes, sep="\n")
    else:
        print(tables(measure(ROOT / "src" / "tonnage", ROOT / "tests")))
