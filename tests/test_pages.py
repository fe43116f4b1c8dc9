"""Every code block of the documentation is run, read by what it is for, or listed with a reason."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from tests.support.pages import (
    NOT_RUN,
    PAGES,
    REFUSED,
    ROOT,
    Block,
    blocks,
    is_like,
    told,
    words,
)

# No public door parses a command line without running it.
from tonnage.cli.main import _parser, main

BLOCKS = [block for page in PAGES for block in blocks(page)]

SHOWN = {
    "js": "for a browser: tests/browser has the pages that are ours",
    "nginx": "for a program that the tests do not have",
    "sql": "for PostgreSQL: tests/db has the tables and the statements that matter",
}
"""Languages whose blocks are only looked at for commands of ours, each with the reason."""

READ_ALOUD = {
    ("docs/explanation/path-of-a-request.md", "", 0): "a drawing",
    ("docs/how-to/durable-writes.md", "text", 0): "names of files",
    ("docs/how-to/read-a-postmortem.md", "text", 0): "names of files",
    ("docs/promises/kernel-never-has-to-kill.md", "text", 1): "what uniq prints",
    ("docs/tutorial/first-app.md", "text", 0): "the banner: names, figures and addresses",
}
"""Blocks of text that hold no words of ours, each with what they are."""

PLATFORMS = ("render", "railway", "fly", "heroku", "kubernetes")

_COMMANDS = "run|plan|check|init|db|models|jobs|otel|status|top|logs|reclaim|recycle|postmortem"
_WITHIN = re.compile(rf"(?<![\w.-])tonnage (?:{_COMMANDS})\b[^\n\"|&;`]*")
_LISTED = re.compile(r"\[\"tonnage\"[^\]]*\]")
_EXTRAS = re.compile(r"(?:tonnage|\.|/tonnage)\[([a-z,]+)\]")
_TARGET = re.compile(r"^make ([a-z-]+)", re.MULTILINE)
_JOINED = re.compile(r"\"\s*\n\s*(?:rf?|f)?\"")
_FIELD = re.compile(r"\{[^{}]*\}|%[sdg]")


def named(*languages: str) -> pytest.MarkDecorator:
    """Return a mark that gives a test each block of *languages* in its turn."""
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize(
        "block", chosen, ids=[f"{each.page}-{each.language}-{each.number}" for each in chosen]
    )


def commands(block: Block) -> list[str]:
    """Return the lines that a reader types of *block*."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "sh":
        return lines
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def test_each_language_is_held_to_something() -> None:
    """A block in a language that nobody reads here fails; so does a reason without a block."""
    held = {"python", "sh", "console", "toml", "json", "yaml", "http", "dockerfile", "ini", "text"}
    assert {block.language for block in BLOCKS} - held - {""} == set(SHOWN)
    python = {(block.page, block.number) for block in BLOCKS if block.language == "python"}
    assert {*NOT_RUN, *REFUSED} - python == set()
    assert set(READ_ALOUD) - {(each.page, each.language, each.number) for each in BLOCKS} == set()


@cache
def wrong_in_pages() -> dict[str, list[str]]:
    """Run the Python blocks of all pages; return what is wrong with each page."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.pages"],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "page", sorted({each.page for each in BLOCKS if each.language == "python"})
)
def test_python_runs(page: str) -> None:
    """A page's Python runs, block after block; each name is there, each call of ours is taken."""
    assert wrong_in_pages()[page] == []


@named("sh", "console")
def test_a_shell_reads_it(block: Block) -> None:
    """What a reader is to type is a shell's, and each target of make is in the Makefile."""
    text = "\n".join(commands(block)) + "\n"
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert done.stderr == ""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [target for target in _TARGET.findall(text) if target not in targets] == []


@named("sh", "console", "dockerfile", "ini", "yaml", "toml", "text", "")
def test_our_commands_are_understood(block: Block) -> None:
    """Commands of ours, wherever in a block they stand, are such as the command line accepts."""
    if block.language in ("sh", "console"):
        text = "\n".join(line for line in commands(block) if not line.startswith("#"))
    else:
        text = block.text
    found = [shlex.split(each, comments=True) for each in _WITHIN.findall(text)]
    for line in (*found, *map(json.loads, _LISTED.findall(text))):
        if "error:" not in line and "'12 apples'" not in text:
            _parser(line[1]).parse_args(line[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_are_there(page: Path) -> None:
    """Each extra that a page tells the reader to install is one of the package's."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {extra for found in _EXTRAS.findall(page.read_text()) for extra in found.split(",")}
    assert named - set(extras) == set()


@named("json", "yaml", "toml", "http")
def test_data_can_be_read(block: Block) -> None:
    """JSON, YAML and TOML are what they say; an answer of HTTP has a status and headers."""
    if block.language == "json":
        assert json.loads(block.text)
    elif block.language == "yaml":
        assert yaml.safe_load(block.text)
    elif block.language == "toml":
        assert tomllib.loads(block.text)
    else:
        first, _, head = block.text.partition("\n\n")[0].partition("\n")
        assert re.fullmatch(r"HTTP/1\.1 [1-5]\d\d [A-Z][A-Za-z ]+", first)
        assert all(re.fullmatch(r"[\w-]+: .+", line) for line in head.splitlines())


@pytest.mark.parametrize("platform", PLATFORMS)
def test_pages_of_platforms_show_what_init_writes(
    platform: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each line of a file that the page of a platform shows is one that `tonnage init` writes."""
    project = tmp_path / "shop"
    project.mkdir()
    (project / "requirements.txt").write_text("fastapi\ntonnage\n")
    monkeypatch.chdir(project)
    assert main(["init", platform, "main:app", "--print"]) == 0
    written = {line.strip() for line in capsys.readouterr().out.splitlines()}
    page = f"docs/how-to/deploy-on-{platform}.md"
    shown = [
        line.strip()
        for block in BLOCKS
        if block.page == page and block.language in ("yaml", "toml", "text")
        for line in block.text.splitlines()
        if line.strip()
    ]
    assert shown
    assert [line for line in shown if line not in written] == []


REPEATED = (
    "plan main:app",
    "check main:app",
    "run nosuch:app",
    "run main:app --memory '12 apples'",
)
"""Commands that blocks of the console show and that are given here, to compare what they print."""

DEBUGGED = "from fastapi import FastAPI\napp = FastAPI(debug=True)\n"


@named("console")
def test_outputs_are_like_the_real_ones(block: Block) -> None:
    """Of each line that a command is said to print, most words are in what it prints.

    What needs a server or a database is compared with the words of the code.
    """
    others = list[str]()
    for command, printed in told(block):
        if command.startswith(tuple(f"tonnage {each}" for each in REPEATED)):
            real = set(words(_printed(command)))
            assert [line for line in printed if not is_like(line, real)] == []
        elif command.startswith("tonnage "):
            others += printed
        else:
            assert all(json.loads(line) for line in printed if line.startswith("{"))
    assert _is_ours("\n".join(others))


def test_refusals_are_those_of_the_code() -> None:
    """Each `error` in the table of refusals is one that the code answers with."""
    table = (ROOT / "docs" / "how-to" / "why-503.md").read_text().partition("\n## ")[0]
    cells = re.findall(r"^\| [\d, ]+ \| ([^|]+) \|", table, re.MULTILINE)
    errors = [error for cell in cells for error in re.findall(r"`(\w+)`", cell)]
    code = "".join(file.read_text() for file in (ROOT / "src" / "tonnage").rglob("*.py"))
    assert len(errors) > 10
    assert [error for error in errors if f'"{error}"' not in code] == []


@named("text", "")
def test_texts_are_ours(block: Block) -> None:
    """A log, a report or an error that a page shows is worded as the code has it."""
    is_file = block.page.startswith("docs/how-to/deploy-on-")
    if not is_file and (block.page, block.language, block.number) not in READ_ALOUD:
        assert _is_ours(block.text)


@cache
def _printed(command: str) -> str:
    """Give *command* where the application of the tutorial is; return all that it prints."""
    arguments = shlex.split(command, comments=True)[1:]
    tutorial = [each.text for each in BLOCKS if each.page == "docs/tutorial/first-app.md"]
    app = (
        DEBUGGED if arguments[0] == "check" else next(each for each in tutorial if "Cache(" in each)
    )
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "main.py").write_text(app)
        done = subprocess.run(
            [sys.executable, "-m", "tonnage", *arguments],
            cwd=directory,
            env={"PYTHONPATH": str(ROOT / "src"), "TONNAGE_ENV": "development"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    return done.stdout + done.stderr


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return each two words that stand side by side in a line of *text*."""
    return [pair for line in text.splitlines() for pair in pairwise(words(line))]


@cache
def _pairs_of_the_code() -> frozenset[tuple[str, str]]:
    """Return those of the code, where a text that goes on in the next line is one.

    And those of the screens of `tonnage top`, which its tests hold to the code.
    """
    screens = (ROOT / "tests" / "commands" / "frames").glob("*.txt")
    files = (*(ROOT / "src" / "tonnage").rglob("*.py"), *screens)
    texts = (_FIELD.sub(" ", _JOINED.sub("", file.read_text())) for file in files)
    return frozenset(pair for text in texts for pair in _pairs(text))


def _is_ours(text: str) -> bool:
    """Return whether at least half of the pairs of words of *text* are in the code."""
    pairs = _pairs(text)
    return 2 * sum(pair in _pairs_of_the_code() for pair in pairs) >= len(pairs)
