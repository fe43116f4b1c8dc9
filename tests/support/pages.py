"""The code blocks of the documentation, to be held to what is so.

`python -m tests.support.pages` runs the Python blocks of all pages: each page in a process of its
own, its blocks one after the other as a reader would. It prints JSON: for each page what is wrong.
Does not: start servers. What a block needs from the reader's own application is in `GIVEN`.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import dis
import importlib
import inspect
import json
import linecache
import os
import re
import sys
import tempfile
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
# Generated pages are held to the code by the scripts that make them.
PAGES = sorted(
    page
    for page in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md")
    if "\n<!-- Generated from" not in page.read_text()
)

_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two fences of a page."""

    page: str
    number: int
    """Which of the page's blocks of this language it is, from 0."""
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of *page*."""
    name, seen = str(page.relative_to(ROOT)), dict[str, int]()
    for _, language, text in _FENCE.findall(page.read_text()):
        number = seen[language] = seen.get(language, -1) + 1
        yield Block(name, number, language, textwrap.dedent(text))


def told(block: Block) -> list[tuple[str, list[str]]]:
    """Return each command of a block of the console, with the lines below it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif found and line.strip():
            found[-1][1].append(line)
    return found


def words(text: str) -> list[str]:
    """Return the words of *text*, in small letters and without a plural's s."""
    return [word.lower().removesuffix("s") for word in _WORD.findall(text)]


def is_like(line: str, real: set[str]) -> bool:
    """Return whether two thirds of the words of *line* are in *real*."""
    own = words(line)
    return 3 * sum(word in real for word in own) >= 2 * len(own)


NOT_RUN = {
    ("README.md", 1): "starts a job, and needs a photo and a model: tests/images/background",
    ("docs/explanation/pictures.md", 0): "needs a photo: tests/images",
    ("docs/how-to/images.md", 1): "needs a photo and a model: tests/images/background",
    ("docs/how-to/isolated-jobs.md", 0): "shows both ways in one block: tests/jobs",
    ("docs/how-to/migrations.md", 2): "migrates a database: tests/db/test_migrations.py",
    ("docs/how-to/mongodb.md", 0): "needs MongoDB: tests/db",
    ("docs/how-to/redis.md", 1): "needs Redis: tests/stores/redis",
    ("docs/how-to/redis.md", 2): "needs Redis: tests/stores/redis",
    ("docs/how-to/task-queue.md", 0): "needs Redis and workers: tests/jobs/queue",
}
"""Python blocks that are not run, each with the reason; their names and calls are looked at."""

REFUSED = {("docs/explanation/path-of-a-request.md", 1): "RequestRefusedError"}
"""Python blocks that are to end in an error."""

_ALWAYS = """
import asyncio, os
from fastapi import FastAPI, Request, Response
app = FastAPI()
url = "postgresql://app@localhost/shop"
"""
_EVENTS = """
import datetime, sqlalchemy
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tonnage import db
class Base(DeclarativeBase): ...
class Event(Base):
    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    title: Mapped[str]
    is_public: Mapped[bool]
    starts_at: Mapped[datetime.datetime]
class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int]
plain = sqlalchemy.create_engine(os.environ["DATABASE_URL"])
Base.metadata.create_all(plain)
with plain.begin() as given:
    given.exec_driver_sql("CREATE TABLE document (id INTEGER, title TEXT, content TEXT)")
session = Session(plain)
"""
_POSTGRES = 'os.environ["DATABASE_URL"] = url\n'
_MYSITE = """
import sys
settings = type(sys)("mysite.settings")
settings.ROOT_URLCONF, settings.SECRET_KEY = "mysite", "s"
sys.modules["mysite"] = sys.modules["mysite.settings"] = settings
"""
GIVEN = {
    "README.md": "upload = b''",
    "docs/explanation/pictures.md": "upload = b''",
    "docs/how-to/cache.md": "import pydantic\nclass Change(pydantic.BaseModel): ...",
    "docs/how-to/databases.md": _POSTGRES,
    "docs/how-to/durable-writes.md": _POSTGRES,
    "docs/how-to/give-memory-back.md": "def render(page): ...",
    "docs/how-to/images.md": "from flask import request\ncurrent_member = keep_portrait = max\n"
    "upload = b''",
    "docs/how-to/isolated-jobs.md": "year = 2026\ndef pages_of(path): ...\nconvert_page = pages_of",
    "docs/how-to/mongodb.md": "cursor = ''",
    "docs/how-to/pages.md": _EVENTS,
    "docs/how-to/queries.md": _EVENTS
    + "engine = db.async_engine(name='given')\nconnection = await engine.connect()\n"
    "statement = select(Event)\nfound = bool",
    "docs/how-to/security-events.md": "import pydantic\n"
    "class Form(pydantic.BaseModel): ...\nasync def find_user(name, password): ...",
    "docs/how-to/sinks.md": _POSTGRES + "import sqlalchemy\n"
    "engine = sqlalchemy.create_engine('sqlite://')\n"
    "events_table = sqlalchemy.Table('events', sqlalchemy.MetaData())",
    "docs/how-to/task-queue.md": "from tonnage import isolated\ndef make_card(member): ...\n"
    "member = 1",
    "docs/how-to/use-with-django.md": _MYSITE,
    "docs/how-to/write-in-batches.md": "import pydantic\nclass Event(pydantic.BaseModel): ...",
}
"""What a page takes for granted of the application that its reader has."""


async def wrong_in(page: Path) -> list[str]:
    """Run the Python blocks of *page* in the present directory; return what is wrong."""
    name = str(page.relative_to(ROOT))
    module = types.ModuleType("main")
    module.__file__ = "main.py"
    sys.modules["main"] = module
    names, wrong = vars(module), list[str]()
    await _run(_ALWAYS + GIVEN.get(name, ""), f"{name} given", names)
    for block in blocks(page):
        if block.language != "python":
            continue
        where = f"{name} python {block.number}"
        at, outcome = (name, block.number), ""
        try:
            await _run(_imports(block.text) if at in NOT_RUN else block.text, where, names)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            outcome = type(error).__name__
            if REFUSED.get(at) != outcome:
                wrong.append(f"{where}: {outcome}: {error}")
        if not outcome and at in REFUSED:
            wrong.append(f"{where}: no {REFUSED[at]}")
        wrong += [f"{where}: {each}" for each in _unknown(block.text, names)]
    return wrong


def _imports(text: str) -> str:
    found = (ast.Import, ast.ImportFrom)
    return "\n".join(ast.unparse(each) for each in ast.parse(text).body if isinstance(each, found))


def _compiled(text: str, where: str) -> types.CodeType:
    linecache.cache[where] = (len(text), None, text.splitlines(True), where)
    code: types.CodeType = compile(text, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


async def _run(text: str, where: str, names: dict[str, Any]) -> None:
    code = _compiled(text, where)
    if code.co_flags & inspect.CO_COROUTINE:
        await types.FunctionType(code, names)()
    else:
        exec(code, names)


def _unknown(text: str, names: dict[str, Any]) -> Iterator[str]:
    """Yield the names in *text* that nobody has made, and the calls that Tonnage does not take."""
    known = {**vars(builtins), **names}
    stored, loaded = set[str](), set[str]()
    codes = [_compiled(text, "names")]
    for code in codes:
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                loaded.add(step.argval)
            elif step.opname in ("STORE_GLOBAL", "STORE_NAME"):
                stored.add(step.argval)
    unknown = loaded - stored - set(known) - {"__annotations__"}
    yield from sorted(f"no {name}" for name in unknown)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield from _misfit(node, known)


def _misfit(call: ast.Call, known: dict[str, Any]) -> Iterator[str]:
    shown = ast.unparse(call)
    try:
        function = _found(call.func, known)
    except AttributeError as error:
        yield f"{shown}: {error}"
        return
    if not (getattr(function, "__module__", None) or "").startswith("tonnage"):
        return
    places = [each for each in call.args if not isinstance(each, ast.Starred)]
    keywords = {each.arg: None for each in call.keywords if each.arg}
    is_whole = len(places) == len(call.args) and len(keywords) == len(call.keywords)
    try:
        signature = inspect.signature(function)
        (signature.bind if is_whole else signature.bind_partial)(*places, **keywords)
        yield from (f"{shown}: no {each}" for each in _unpacked(signature, function, keywords))
    except TypeError as error:
        yield f"{shown}: {error}"
    except ValueError:
        # An error of Python's own making, which takes anything.
        return


def _unpacked(
    signature: inspect.Signature, function: Any, keywords: dict[str, None]
) -> Iterator[str]:
    """Yield those of *keywords* that a `**options: Unpack[Options]` does not have."""
    for rest in signature.parameters.values():
        unpacked = re.fullmatch(r"Unpack\[(\w+)\]", str(rest.annotation))
        options = unpacked and getattr(sys.modules[function.__module__], unpacked[1], None)
        if options:
            yield from set(keywords) - {*signature.parameters, *options.__annotations__}


def _found(node: ast.expr, known: dict[str, Any]) -> Any:
    """Return what *node* stands for, if it is a name or an attribute of one; else None."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _found(node.value, known)
        is_ours = (getattr(owner, "__name__", None) or "").startswith("tonnage") or (
            type(owner).__module__.startswith("tonnage")
        )
        return getattr(owner, node.attr) if is_ours or isinstance(owner, type) else None
    return None


def main() -> None:
    """Run all pages, each in a fork of what is imported here once."""
    for module in ("fastapi", "flask", "sqlalchemy.orm"):
        importlib.import_module(module)
    wrong = dict[str, list[str]]()
    for page in PAGES:
        if not any(block.language == "python" for block in blocks(page)):
            continue
        with tempfile.TemporaryDirectory() as directory:
            source, sink = os.pipe()
            process = os.fork()
            if process == 0:
                os.chdir(directory)
                os.environ["DATABASE_URL"] = f"sqlite:///{directory}/shop.db"
                asyncio.run(_answer(page, sink))
            os.close(sink)
            with os.fdopen(source) as answer:
                wrong[str(page.relative_to(ROOT))] = json.loads(answer.read() or '["it ended"]')
            os.waitpid(process, 0)
    print(json.dumps(wrong))


async def _answer(page: Path, sink: int) -> None:
    os.write(sink, json.dumps(await wrong_in(page)).encode())
    # What the blocks have opened ends with the process, and nobody is to complain of it.
    os._exit(0)


if __name__ == "__main__":
    main()
