"""Settings are found: in four places, and checked once.

`load_settings` takes the flags of the command line, the environment, an env file and the
``[tool.tonnage]`` table of a TOML file, in this order of precedence, and returns
:class:`~tonnage.settings.Settings`. Every value remembers where it came from. Nothing here looks
for limits or decides how many workers there are: that is :mod:`tonnage.budget`. The options
themselves are in :mod:`tonnage.options`. What of them applies in a process, an :class:`Applied`
says to the room that it belongs to.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from tonnage.errors import ConfigError
from tonnage.options import GROUPS, OPTIONS, Option
from tonnage.options.kinds import RATES, ROUTES, WORDS
from tonnage.settings import (
    AdmissionSettings,
    AppSettings,
    DatabaseSettings,
    JobSettings,
    ListenSettings,
    LoggingSettings,
    MemorySettings,
    PathSettings,
    ProcessSettings,
    RecyclingSettings,
    ReportSettings,
    Settings,
    StoreSettings,
)
from tonnage.spelling import nearest

Part = TypeVar("Part")

# Variables called like ours that are no options: our own, the tests', and what Kubernetes sets for
# a service of this name.
NO_OPTIONS = re.compile(r"TONNAGE_(PREPARED|TEST_\w+|SERVICE_\w+|PORT_\w+)")

# The files that have to be known before the others can be read; an env file cannot name them.
FOUND_FIRST = ("config", "env_file")

# Taken relative to the directory that the settings are found for.
_PATHS = (
    *("app_dir", "env_file", "config", "uds", "report_dir", "cache_dir", "spool_dir"),
    "models_dir",
)
# What the environment decides, where nobody says otherwise.
_CACHE_TTL_SECONDS: Mapping[object, float] = {"production": 300.0, "development": 60.0}


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as someone wrote it: where (``source``), and as what (``label``, for messages)."""

    value: object
    source: str
    label: str


class Applied(Generic[Part]):
    """A part of the settings, as it applies in this process; a room has one for what it reads.

    The server passes on what it was started with, flags and files included, before it imports the
    application. Under any other server the environment says it, by the same names.

    Args:
        part: takes the part from all settings.
    """

    def __init__(self, part: Callable[[Settings], Part]) -> None:
        self._part = part
        self._told: Part | None = None

    def use(self, part: Part) -> None:
        """Have *part* apply in this process, and in those that it forks."""
        self._told = part

    def current(self) -> Part:
        """Return what applies: what the server was told, else what the environment says now.

        Raises:
            ConfigError: a variable holds a value without sense.
        """
        if self._told is not None:
            return self._told
        return self._part(load_settings({}, os.environ, Path.cwd()))


def load_settings(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    directory: Path,
    *,
    on_terminal: Callable[[], bool] | None = None,
) -> Settings:
    """Find every option: its flag, else environment, env file, TOML file, default.

    An empty variable counts as unset. Paths are taken relative to *directory*, which is also where
    pyproject.toml is looked for. *flags* maps option names to text (or to a bool for switches);
    None or absence means not given. *on_terminal* says whether a person is watching, which decides
    the default of ``env``.

    Raises:
        ConfigError: if a value makes no sense, the TOML file has an unknown key, or a named file
            cannot be read.
    """
    table, table_name = _read_table(_find_file("config", flags, environ, {}, directory), directory)
    env_file = _find_file("env_file", flags, environ, table, directory)
    variables = _read_env_file(env_file) if env_file is not None else {}

    def places(option: Option) -> Iterator[_Given]:
        yield from _from_flags(option, flags)
        yield from _from_variables(option, environ)
        if env_file is not None and option.name not in FOUND_FIRST:
            yield from _from_variables(option, variables, file=env_file.name)
        yield from _from_table(option, table, table_name)

    given = {option.name: next(places(option), None) for option in OPTIONS}
    values = {option.name: _parse(option, given[option.name]) for option in OPTIONS}
    sources = {name: found.source if found else "default" for name, found in given.items()}
    if sources["host"] == "default" and sources["port"] == "environment PORT":
        values["host"] = "0.0.0.0"
    if values["env"] is None:
        watched = (on_terminal or _stderr_is_terminal)()
        values["env"] = "development" if watched else "production"
    if values["cache_ttl"] is None:
        values["cache_ttl"] = _CACHE_TTL_SECONDS[values["env"]]
    values["spool_dir"] = values["spool_dir"] or Path("tonnage-spool")
    for name in _PATHS:
        path = values[name]
        values[name] = directory / path if isinstance(path, Path) else None
    values["routes"] = values["routes"] or {}
    warnings = (*_unknown(environ), *_unknown(variables))
    settings = _build(values, sources, variables, warnings)
    _check_together(settings)
    return settings


def _build(
    values: Mapping[str, Any],
    sources: Mapping[str, str],
    variables: Mapping[str, str],
    warnings: tuple[str, ...],
) -> Settings:
    groups: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for option in OPTIONS:
        groups[option.group][option.field_name] = values[option.name]
    return Settings(
        app=AppSettings(**groups["app"]),
        listen=ListenSettings(**groups["listen"]),
        memory=MemorySettings(**groups["memory"]),
        process=ProcessSettings(**groups["process"]),
        recycling=RecyclingSettings(**groups["recycling"]),
        admission=AdmissionSettings(**groups["admission"]),
        path=PathSettings(**groups["path"]),
        stores=StoreSettings(**groups["stores"]),
        databases=DatabaseSettings(**groups["databases"]),
        jobs=JobSettings(**groups["jobs"]),
        logging=LoggingSettings(**groups["logging"]),
        reports=ReportSettings(**groups["reports"]),
        sources=MappingProxyType(dict(sources)),
        env_file_variables=MappingProxyType(dict(variables)),
        warnings=warnings,
    )


def _check_together(settings: Settings) -> None:
    memory, listen = settings.memory, settings.listen
    marks = (memory.warning_at, memory.critical_at, memory.exhausted_at)
    percents = [mark.percent for mark in marks if mark.percent is not None]
    sizes = [mark.bytes for mark in marks if mark.bytes is not None]
    # A percentage can be held against a size only once the limit is known.
    if percents != sorted(percents) or sizes != sorted(sizes):
        raise ConfigError(
            f"{settings.origin('warning_at')} {marks[0]},"
            f" {settings.origin('critical_at')} {marks[1]},"
            f" {settings.origin('exhausted_at')} {marks[2]}: write them in rising order"
        )
    if listen.uds is not None and listen.fd is not None:
        raise ConfigError(
            f"{settings.origin('uds')} and {settings.origin('fd')} both say where to listen: "
            "keep one"
        )
    if memory.worker_memory_bytes is not None and not memory.fuse:
        off = settings.origin("fuse").replace("--", "--no-")
        raise ConfigError(
            f"{settings.origin('worker_memory')} is kept by the fuse, which {off} turns off: "
            "leave one of them out"
        )


def _from_flags(option: Option, flags: Mapping[str, object]) -> Iterator[_Given]:
    value = None if option.is_secret else flags.get(option.name)
    if option.each and isinstance(value, list):
        value = "\n".join(value)
    if value is not None:
        label = option.kind.metavar if option.is_target else option.flag
        yield _Given(value, "flag", label)


def _from_variables(
    option: Option, variables: Mapping[str, str], file: str = ""
) -> Iterator[_Given]:
    for name in option.env:
        text = variables.get(name, "")
        if text.strip():
            counts_mb = name.endswith("_MB") and text.strip().replace(".", "", 1).isdigit()
            text = f"{text.strip()}M" if counts_mb else text
            if file:
                yield _Given(text, f"env file {file}", f"{file}: {name}")
            else:
                yield _Given(text, f"environment {name}", name)


def _from_table(option: Option, table: Mapping[str, object], source: str) -> Iterator[_Given]:
    if option.name in table:
        yield _Given(table[option.name], source, f"{source}: {option.name}")


def _parse(option: Option, given: _Given | None) -> object:
    if given is None:
        return None if option.default is None else option.kind.parse(option.default)
    value = given.value
    if option.kind is ROUTES and not isinstance(value, str):
        return _checked_routes(value, given)
    # Of what exists in TOML files only, a list is one way to write several words: a pattern among
    # them may have commas of its own.
    if isinstance(value, list) and value and option.kind in (WORDS, RATES):
        if option.kind is WORDS and all(isinstance(each, str) for each in value):
            return tuple(value)
        value = ",".join(str(each) for each in value)
    if not isinstance(value, (str, int, float)):
        raise _nonsense(option, given)
    if isinstance(value, bool) != option.is_switch and not isinstance(value, str):
        raise _nonsense(option, given)
    try:
        parsed = option.kind.parse(str(value))
    except (ConfigError, ValueError) as error:
        raise _nonsense(option, given, error) from error
    return _checked_routes(parsed, given) if option.kind is ROUTES else parsed


def _nonsense(option: Option, given: _Given, error: Exception | None = None) -> ConfigError:
    value = "..." if option.is_secret else repr(given.value)
    why = f" ({error})" if error is not None and option.kind.explains else ""
    return ConfigError(f"{given.label}={value} makes no sense: write {option.kind.expected}{why}")


def _find_file(
    name: str,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    table: Mapping[str, object],
    directory: Path,
) -> Path | None:
    """Return the file that the option *name* leads to, looking no further than it has to."""
    option = next(option for option in OPTIONS if option.name == name)
    for given in (
        *_from_flags(option, flags),
        *_from_variables(option, environ),
        *_from_table(option, table, "the TOML file"),
    ):
        return directory / str(_parse(option, given))
    return None


def _read_table(named: Path | None, directory: Path) -> tuple[Mapping[str, object], str]:
    """Return the [tool.tonnage] table with ``_`` in its keys, and the name of its file."""
    path = named or directory / "pyproject.toml"
    if named is None and not path.is_file():
        return {}, path.name
    import tomllib  # Only here: it costs a megabyte, and most servers have no such file.

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    tool = document.get("tool", {})
    table = tool.get("tonnage", {}) if isinstance(tool, dict) else {}
    if named is not None and not table:
        raise ConfigError(f"{path} has no [tool.tonnage] table: add one, or leave --config out")
    if not isinstance(table, dict):
        raise ConfigError(f"tool.tonnage in {path} is not a table: write [tool.tonnage]")
    return {_known_key(key, path.name): value for key, value in table.items()}, path.name


def _checked_routes(routes: object, given: _Given) -> object:
    """Return *routes* as they are written, once the path has checked them."""
    if not isinstance(routes, dict) or not all(isinstance(each, dict) for each in routes.values()):
        raise ConfigError(
            f"{given.label} is not a table of routes: write"
            ' [tool.tonnage.routes."POST /photos"] and below it for example max_upload = "5M"'
        )
    if routes:
        from tonnage.rules import RuleBook, Rules  # Only here: few have any.

        try:
            RuleBook(Rules(), routes)
        except ConfigError as error:
            raise ConfigError(f"{given.label}: {error}") from error
    return routes


def _known_key(key: str, file_name: str) -> str:
    known = [option.name for option in OPTIONS if option.in_file]
    name = key.replace("-", "_")
    if name in known:
        return name
    meant = nearest(name, known)
    hint = f": did you mean {meant}?" if meant else ": see the options with tonnage run --help"
    raise ConfigError(f"[tool.tonnage] in {file_name} has an unknown key {key!r}{hint}")


def _unknown(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each of *variables* that is called like an option, and is none.

    No error: other programs may have such names, too.
    """
    known = [option.name.upper() for option in OPTIONS]
    for name, text in variables.items():
        prefix, ours, rest = name.partition("TONNAGE_")
        is_unknown = ours and not prefix and rest not in known and not NO_OPTIONS.fullmatch(name)
        if is_unknown and text.strip():
            meant = nearest(rest, known)
            hint = f"did you mean {ours}{meant}?" if meant else "see tonnage run --help"
            yield f"{name} is set and has no effect, since there is no such option: {hint}"


def _read_env_file(path: Path) -> Mapping[str, str]:
    try:
        from dotenv import dotenv_values  # Only here: it is imported where an env file is named.
    except ImportError as error:
        raise ConfigError(
            "an env file needs python-dotenv: pip install 'tonnage[dotenv]', "
            "or set the variables in the environment"
        ) from error
    if not path.is_file():
        raise ConfigError(f"cannot read the env file {path}: there is no such file")
    try:
        values = dotenv_values(path, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the env file {path}: {error}") from error
    return {name: value for name, value in values.items() if value is not None}


def _stderr_is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
