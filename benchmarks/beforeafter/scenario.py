"""The scenario of a backend, ``examples/<app>/load.toml``: what its users do, and how it is run.

    scenario = read(Path("examples/fitflix/load.toml"))

It has these tables; a file says no more than it needs, and what it does not know is refused:

    notes       what one must know to read the figures; they stand below the table
    [load]      clients, think_seconds, seconds, timeout_seconds, seed
    [probe]     a step that anybody can take at any time: users are served while it is answered
    [needs]     database = "sqlite" or "postgresql", redis = true, mongo = true
    [naive]     command and env of the backend as it was; {port} in the command is its port
    [tonnage]   the same, of the backend on Tonnage
    [values]    what {names} in steps become: one of a list of texts, or a number of [first, last]
    [[once]]    the steps that each client takes first
    [[visit]]   name, weight and, as [[visit.step]], the steps of what a client does then

A step is a request: ``method``, ``path``, ``headers``, one of ``json``, ``form`` and ``file``, the
answers that are ``ok``, and what to ``keep`` of the JSON of the answer. With ``until`` it is asked
again until that JSON has these values. ``stores`` says what is stored once it is answered, as
``{purchases = "shop-{visit}"}``: the kind, and the key by which it is found in the end
(``benchmarks.stored``). A list that is sent has a record for each object.

What a {name} stands for is filled in as text. Known everywhere are {client} and {visit}, by their
numbers, and {record}, the place of an object in a list, from 1.

Pure, but for the reading. Who plays the scenario is :mod:`benchmarks.beforeafter.crowd`; what
{names} stand for in a visit says :mod:`benchmarks.beforeafter.visits`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import stored

SIDES: Final = ("naive", "tonnage")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
DATABASES: Final = ("sqlite", "postgresql")
ALWAYS: Final = frozenset({"client", "visit", "record"})
#: A photo that is made, and not beside the scenario.
PORTRAIT: Final = "portrait.jpg"

NAME: Final = re.compile(r"\{(\w+)\}")

_STEP_KEYS = frozenset(
    {"method", "path", "headers", "json", "form", "file", "ok", "keep", "until", "stores"}
)


class ScenarioError(Exception):
    """A scenario file that cannot be played; the message names file and key, and what to do."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a step sends, as a form does, in *field*."""

    field: str
    path: str
    type: str


@dataclass(frozen=True, slots=True)
class Step:
    """One request, with its {names} not filled in, and which answers are good."""

    method: str
    path: str
    headers: Mapping[str, str]
    json: Any
    form: Mapping[str, str]
    file: Upload | None
    ok: frozenset[int]
    keep: Mapping[str, str]
    until: Mapping[str, Any]
    stores: Mapping[str, str]

    def names(self) -> set[str]:
        """Return the {names} that this step needs."""
        sent = (self.path, self.headers, self.json, self.form, self.stores)
        return {name for text in _texts(sent) for name in NAME.findall(text)}


@dataclass(frozen=True, slots=True)
class Visit:
    """What a client does in one go; it is chosen by its weight."""

    name: str
    weight: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """How many clients there are, and for how long; the same seed gives the same requests."""

    clients: int
    think_seconds: float
    seconds: float
    timeout_seconds: float
    seed: int


@dataclass(frozen=True, slots=True)
class Needs:
    """The services that the backend uses; *database* is empty where it uses none."""

    database: str
    redis: bool
    mongo: bool


@dataclass(frozen=True, slots=True)
class Side:
    """How one of the two backends is started, in the directory of the scenario."""

    command: str
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole file; *app* is the name of the directory it is in."""

    app: str
    directory: Path
    notes: tuple[str, ...]
    load: Load
    probe: Step
    needs: Needs
    sides: Mapping[str, Side]
    values: Mapping[str, range | tuple[str, ...]]
    once: tuple[Step, ...]
    visits: tuple[Visit, ...]


def read(path: Path) -> Scenario:
    """Return the scenario in *path*.

    Raises:
        ScenarioError: if there is none, or none that can be played.
    """
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ScenarioError(f"{path}: there is no such scenario: write one") from None
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: not TOML: {error}: correct it there") from None
    return _scenario(_Table(found, path, ""), path)


def _scenario(table: _Table, path: Path) -> Scenario:
    table.allow({"notes", "load", "probe", "needs", *SIDES, "values", "once", "visit"})
    values = table.table("values", optional=True)
    scenario = Scenario(
        app=path.resolve().parent.name,
        directory=path.resolve().parent,
        notes=_notes(table),
        load=_load(table.table("load")),
        probe=_probe(table.table("probe")),
        needs=_needs(table.table("needs", optional=True)),
        sides={name: _side(table.table(name)) for name in SIDES},
        values={name: _value(values, name) for name in values.found},
        once=tuple(_step(each) for each in table.tables("once", optional=True)),
        visits=tuple(_visit(each) for each in table.tables("visit")),
    )
    _check_names(scenario, table)
    return scenario


def _load(table: _Table) -> Load:
    table.allow({"clients", "think_seconds", "seconds", "timeout_seconds", "seed"})
    return Load(
        clients=int(table.number("clients", least=1, whole=True)),
        think_seconds=table.number("think_seconds", 0.1),
        seconds=table.number("seconds", least=1),
        timeout_seconds=table.number("timeout_seconds", 30, least=0.1),
        seed=int(table.number("seed", 1, whole=True)),
    )


def _notes(table: _Table) -> tuple[str, ...]:
    found = table.found.get("notes", [])
    if not (isinstance(found, list) and all(isinstance(each, str) for each in found)):
        raise table.error("notes", "give a list of texts")
    return tuple(found)


def _probe(table: _Table) -> Step:
    step = _step(table)
    if names := step.names():
        raise table.error("path", f"a probe is no visit, and has no {{{min(names)}}}: write it out")
    return step


def _needs(table: _Table) -> Needs:
    table.allow({"database", "redis", "mongo"})
    database = table.text("database", "")
    if database not in ("", *DATABASES):
        raise table.error("database", f"{database!r} is none of {', '.join(DATABASES)}: name one")
    return Needs(database, redis=table.truth("redis"), mongo=table.truth("mongo"))


def _side(table: _Table) -> Side:
    table.allow({"command", "env"})
    command = table.text("command")
    if "{port}" not in command:
        raise table.error("command", "it does not say where {port} goes: add --port {port}")
    return Side(command, table.texts("env"))


def _value(table: _Table, name: str) -> range | tuple[str, ...]:
    match table.found[name]:
        case [int(first), int(last)] if first <= last:
            return range(first, last + 1)
        case [str(), *_] as texts if all(isinstance(text, str) for text in texts):
            return tuple(texts)
    raise table.error(name, "give [first, last] of whole numbers, or a list of texts")


def _visit(table: _Table) -> Visit:
    table.allow({"name", "weight", "step"})
    return Visit(
        name=table.text("name"),
        weight=table.number("weight", 1, least=0.001),
        steps=tuple(_step(each) for each in table.tables("step")),
    )


def _step(table: _Table) -> Step:
    table.allow(_STEP_KEYS)
    method, path = table.text("method", "GET"), table.text("path")
    if method not in METHODS:
        raise table.error("method", f"{method!r} is none of {', '.join(METHODS)}: name one")
    if not path.startswith("/"):
        raise table.error("path", f"{path!r} does not begin with a slash: add it")
    if len({"json", "form", "file"} & table.found.keys()) > 1:
        raise table.error("json, form, file", "a request has one body: leave one of them")
    ok = table.found.get("ok", [200])
    if not (isinstance(ok, list) and ok and all(isinstance(each, int) for each in ok)):
        raise table.error("ok", "give a list of statuses, as in ok = [200, 201]")
    return Step(
        method=method,
        path=path,
        headers=table.texts("headers"),
        json=table.found.get("json"),
        form=table.texts("form"),
        file=_upload(table.table("file")) if "file" in table.found else None,
        ok=frozenset(ok),
        keep=table.texts("keep"),
        until=table.table("until", optional=True).found,
        stores=_stores(table),
    )


def _stores(table: _Table) -> dict[str, str]:
    found = table.texts("stores")
    if unknown := found.keys() - stored.KINDS:
        kinds = ", ".join(sorted(stored.KINDS))
        raise table.error("stores", f"nobody can look for {min(unknown)}: name one of {kinds}")
    return found


def _upload(table: _Table) -> Upload:
    table.allow({"field", "path", "type"})
    path = table.text("path")
    if path != PORTRAIT and not (table.file.parent / path).is_file():
        raise table.error("path", f"{path!r} is not beside the scenario: put it there")
    return Upload(table.text("field"), path, table.text("type", "application/octet-stream"))


def _check_names(scenario: Scenario, table: _Table) -> None:
    """See that each {name} is one that is known when its step's turn comes."""
    known = {*ALWAYS, *scenario.values}
    lists = [("[[once]]", scenario.once)]
    lists += [(f"[[visit]] {visit.name!r}", visit.steps) for visit in scenario.visits]
    for place, steps in lists:
        here = {*known}
        for step in steps:
            if unknown := step.names() - here:
                raise table.error(
                    f"{place} {step.path}",
                    f"nobody says what {{{min(unknown)}}} is: add it to [values],"
                    f" or keep it in a step before; known are {', '.join(sorted(here))}",
                )
            here |= step.keep.keys()
        if place == "[[once]]":
            known |= here


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the file, and where it is, so that what is wrong with it can be said."""

    found: Mapping[str, Any]
    file: Path
    place: str

    def error(self, key: str, what: str) -> ScenarioError:
        return ScenarioError(f"{self.file}: {f'{self.place} {key}'.strip()}: {what}")

    def allow(self, keys: set[str] | frozenset[str]) -> None:
        if unknown := self.found.keys() - keys:
            raise self.error(
                min(unknown), f"no such key: take it out, or use one of {', '.join(sorted(keys))}"
            )

    def table(self, key: str, *, optional: bool = False) -> _Table:
        found = self._get(key, {} if optional else None)
        if not isinstance(found, dict):
            raise self.error(key, "a table is needed here")
        return _Table(found, self.file, f"{self.place} [{key}]".strip())

    def tables(self, key: str, *, optional: bool = False) -> list[_Table]:
        found = self._get(key, [] if optional else None)
        if not (isinstance(found, list) and all(isinstance(each, dict) for each in found)):
            raise self.error(key, f"tables are needed: write [[{key}]]")
        return [
            _Table(each, self.file, f"{self.place} [[{key}]] {number}".strip())
            for number, each in enumerate(found, 1)
        ]

    def number(
        self, key: str, default: float | None = None, *, least: float = 0, whole: bool = False
    ) -> float:
        found = self._get(key, default)
        kind = int if whole else int | float
        if not isinstance(found, kind) or isinstance(found, bool) or found < least:
            sort = "whole number" if whole else "number"
            raise self.error(key, f"a {sort} of at least {least:g} is needed, not {found!r}")
        return found

    def text(self, key: str, default: str | None = None) -> str:
        found = self._get(key, default)
        if not isinstance(found, str):
            raise self.error(key, f"a text is needed, not {found!r}")
        return found

    def texts(self, key: str) -> dict[str, str]:
        table = self.table(key, optional=True)
        return {name: table.text(name) for name in table.found}

    def truth(self, key: str) -> bool:
        found = self.found.get(key, False)
        if not isinstance(found, bool):
            raise self.error(key, f"true or false is needed, not {found!r}")
        return found

    def _get(self, key: str, default: Any) -> Any:
        found = self.found.get(key, default)
        if found is None:
            raise self.error(key, "it is missing: add it")
        return found
