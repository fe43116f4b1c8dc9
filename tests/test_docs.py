"""The documentation may not say what is not so: links, commands, tests and bounds are held to."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest

# No public door parses a command line without running it.
from tonnage.cli.main import _parser
from tonnage.cli.table import COMMANDS
from tonnage.config import load_settings
from tonnage.options import OPTIONS
from tonnage.units import format_bytes

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *DOCS.rglob("*.md"),
        *ROOT.glob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ]
)
PROMISES = sorted((DOCS / "promises").glob("*.md"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_LISTED = re.compile(r"^(?:-|\d+\.) \[[^\]]*\]\(([^)#\s]+)\)", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_TEST_FILE = re.compile(r"`(tests/[\w/]+\.py)`")
_COMMAND_ROW = re.compile(r"^\| `tonnage (\w+)", re.MULTILINE)
_BENCH = re.compile(r"make bench WHAT=\"?(\w+)")
_BOUND = re.compile(
    r"^\| [^|]+ \| (?P<bound>[^|]+) \| `(?P<name>tonnage\.[\w.]+)` \|$", re.MULTILINE
)

named = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@named
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Each link of a page names a file that is there, and a heading that it has."""
    broken = [link for link in _links(page) if not _leads_somewhere(page, link)]
    assert broken == []


@named
def test_commands_are_understood(page: Path) -> None:
    """Each `tonnage` command line that a page shows is one that the command line accepts."""
    for command in _commands(page):
        words = shlex.split(command, comments=True)[1:]
        arguments = _parser(words[0]).parse_args(words)
        assert arguments.command in COMMANDS


@named
def test_toml_tables_are_understood(page: Path, tmp_path: Path) -> None:
    """Each [tool.tonnage] table that a page shows has known keys and sensible values."""
    for block in _blocks(page, "toml"):
        # The others are files of platforms: tests/test_pages.py.
        if "[tool.tonnage" not in block:
            continue
        (tmp_path / "pyproject.toml").write_text(block)
        settings = load_settings({}, {}, tmp_path, on_terminal=lambda: False)
        assert "pyproject.toml" in settings.sources.values()


@named
def test_benchmarks_are_there(page: Path) -> None:
    """Each measurement that a page tells the reader to make exists."""
    names = _BENCH.findall(page.read_text())
    assert [name for name in names if not (ROOT / "benchmarks" / f"{name}.py").is_file()] == []


@pytest.mark.parametrize("page", PROMISES, ids=lambda page: page.stem)
def test_each_promise_names_its_test(page: Path) -> None:
    """A promise without a test is a wish."""
    named_tests = _TEST_FILE.findall(page.read_text())
    assert named_tests
    assert [name for name in named_tests if not (ROOT / name).is_file()] == []


def test_requirements_name_tests_that_exist() -> None:
    """Each test that the page of requirements names is there."""
    names = _TEST_FILE.findall((DOCS / "requirements.md").read_text())
    assert names
    assert [name for name in names if not (ROOT / name).is_file()] == []


def test_requirements_name_modules_that_exist() -> None:
    """Each module that the page of requirements names is there."""
    text = (DOCS / "requirements.md").read_text()
    names = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", text))
    assert names
    roots = (ROOT, ROOT / "src" / "tonnage")
    assert [name for name in names if not any((root / name).is_file() for root in roots)] == []


def test_every_page_can_be_found_from_the_index() -> None:
    """No page is left out of the lists of the index, which are the navigation of the site."""
    index = DOCS / "index.md"
    listed = {(DOCS / link).resolve() for link in _LISTED.findall(index.read_text())}
    assert [page for page in PAGES if page not in listed | {index}] == []


def test_the_table_of_commands_is_whole() -> None:
    """Each command that `tonnage --help` lists has a row in the reference, and no other has one."""
    page = (DOCS / "reference" / "commands.md").read_text()
    assert set(_COMMAND_ROW.findall(page)) == set(COMMANDS)


def test_bounds_are_those_of_the_code() -> None:
    """Each figure in the table of bounds is the value of the constant beside it."""
    text = (DOCS / "promises" / "everything-is-bounded.md").read_text()
    rows = list(_BOUND.finditer(text))
    assert len(rows) > 10
    wrong = [row["name"] for row in rows if not _says(row["bound"], _constant(row["name"]))]
    assert wrong == []


def _blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, block in _FENCE.findall(page.read_text()):
        if language in languages:
            yield block


def _links(page: Path) -> list[str]:
    prose = _FENCE.sub("", page.read_text())
    return [link for link in _LINK.findall(prose) if "://" not in link]


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, heading = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not heading or heading in map(_slug, _HEADING.findall(target.read_text()))


def _slug(heading: str) -> str:
    """Return the anchor that GitHub and the usual site generators make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _commands(page: Path) -> Iterator[str]:
    """Yield the lines of shell blocks that call `tonnage`, without their prompt."""
    for block in _blocks(page, "sh", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ")
            if command.startswith("tonnage ") and not command.startswith("tonnage: "):
                yield command


def _constant(dotted: str) -> object:
    """Return the value that a name such as `tonnage.web.routes.MAX_PATHS` has."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[length:], module)
    raise AssertionError(f"{dotted} is nowhere")


def _says(bound: str, value: object) -> bool:
    """Return whether the text of a bound has the figures of *value* in it."""
    if value is OPTIONS:
        flags = re.findall(r"`(--[\w-]+)`", bound)
        found = [option for option in OPTIONS if option.flag in flags]
        return bool(found) and all(_has(bound, option.default or "none") for option in found)
    if isinstance(value, tuple):
        return all(_has(bound, str(each)) for each in value)
    assert isinstance(value, (int, float))
    return _has(bound, f"{value:g}") or _has(bound, format_bytes(value))


def _has(text: str, figure: str) -> bool:
    return re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d|[.,]\d)", text) is not None
