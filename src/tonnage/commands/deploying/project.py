"""What a project's directory tells of how it is deployed.

Promises: `look` reads file names, pyproject.toml, requirements.txt and what that includes, and
imports nothing. Does not: resolve dependencies; what a requirement needs in its turn is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tonnage.errors import ConfigError

#: The variable that names each store to the application.
STORES: Final[Mapping[str, str]] = {
    "postgres": "DATABASE_URL",
    "redis": "REDIS_URL",
    "mongo": "MONGO_URL",
}

#: How pip is told of a requirements.txt.
REQUIREMENTS: Final = "-r requirements.txt"
#: What it is told where there is nothing else to install: Tonnage's name.
TONNAGE: Final = "tonnage"

# Packages, and extras of Tonnage's, that show that a store is used.
_SIGNS: Final[Mapping[str, frozenset[str]]] = {
    "postgres": frozenset({"postgres", "psycopg", "psycopg2", "psycopg2-binary", "asyncpg"}),
    "redis": frozenset({"redis", "jobs", "saq", "valkey"}),
    "mongo": frozenset({"mongo", "pymongo", "motor"}),
}
_REQUIREMENT: Final = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?")
# Also where pip is given an address or a file: git+https://..., ./tonnage-0.1-py3-none-any.whl.
_NAMES_TONNAGE: Final = re.compile(rf"(?<![\w-]){TONNAGE}(?!-[a-z]|\w)", re.IGNORECASE)
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_INCLUDES: Final = re.compile(r"\s*(?:-r|--requirement)[\s=]+(\S+)")
# Of files that name further ones.
_MOST_FILES: Final = 16
_ITSELF: Final = re.compile(r"\s*(?:-e|--editable)?[\s=]*\.(?:\[.*\])?\s*")
_MIGRATIONS: Final = ("alembic.ini", "migrations", "alembic")


@dataclass(frozen=True, slots=True)
class Project:
    """A project as its directory shows it.

    Attributes:
        name: What it is called, in lower-case letters, digits and hyphens.
        install: What pip is to install: :data:`REQUIREMENTS`, "." by pyproject.toml, or
            :data:`TONNAGE` alone where there is neither.
        has_tonnage: Whether that installs Tonnage, as far as can be seen.
        stores: Those of :data:`STORES` that its dependencies speak to.
        migrations: What ``tonnage db migrate`` is to be given: a path, "" for one that it finds
            itself; None: there are no migrations.
    """

    name: str
    install: str
    has_tonnage: bool
    stores: frozenset[str]
    migrations: str | None


def look(directory: Path, target: str) -> Project:
    """Return what *directory* shows of the project whose application is *target*.

    Raises:
        ConfigError: pyproject.toml is not valid TOML.
    """
    project = _project_table(directory / "pyproject.toml")
    own = [str(line) for line in project.get("dependencies", ())]
    required = list(_requirements(directory / "requirements.txt"))
    install = "." if project else TONNAGE
    if (directory / "requirements.txt").is_file():
        install = REQUIREMENTS
    # The project itself can be one of its requirements.
    is_installed = install == "." or any(_ITSELF.fullmatch(line) for line in required)
    seen = [*required, *own] if is_installed else required
    # What the project's build finds out is not seen.
    is_unseen = is_installed and "dependencies" in project.get("dynamic", ())
    return Project(
        name=plain_name(str(project.get("name") or directory.resolve().name)),
        install=install,
        has_tonnage=is_unseen or any(_NAMES_TONNAGE.search(line) for line in seen),
        stores=stores_in([*own, *required]),
        migrations=_migrations(directory, target),
    )


def plain_name(text: str) -> str:
    """Return *text* as every platform takes a name: letters, digits and hyphens, at most 40."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:36].strip("-")
    return name if name[:1].isalpha() else f"app-{name}".strip("-")


def stores_in(requirements: Iterable[str]) -> frozenset[str]:
    """Return the stores that lines of *requirements* speak to, by their packages and extras."""
    words: set[str] = set()
    for line in requirements:
        found = _REQUIREMENT.match(line)
        if found is not None:
            name = found[1].lower()
            words.add(name)
            if name == "tonnage":
                words.update(extra.strip() for extra in (found[2] or "").lower().split(","))
    return frozenset(store for store, signs in _SIGNS.items() if words & signs)


def _requirements(first: Path) -> Iterator[str]:
    """Yield the lines of the file *first*, without comments, and of those that it includes."""
    files = [first]
    for path in files:
        if not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            line = _COMMENT.sub("", line)
            included = _INCLUDES.match(line)
            if included is None:
                yield line
            elif len(files) < _MOST_FILES:
                files.append(path.parent / included[1])


def _project_table(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    import tomllib  # Only here, as in tonnage.config.

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return table if isinstance(table, dict) else {}


def _migrations(directory: Path, target: str) -> str | None:
    for name in _MIGRATIONS:
        if (directory / name).exists():
            return ""
    package = re.split(r"[.:]", target, maxsplit=1)[0]
    for name in (f"{package}/migrations", f"{package}/alembic"):
        if (directory / name / "versions").is_dir():
            return name
    return None
