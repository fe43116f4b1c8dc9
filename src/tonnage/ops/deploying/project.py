"""What a project's directory tells of how it is deployed.

Promises: `look` reads file names, pyproject.toml and requirements.txt, and imports nothing.
Does not: resolve dependencies; what a requirement needs in its turn is not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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

# Packages, and extras of Tonnage's, that show that a store is used.
_SIGNS: Final[Mapping[str, frozenset[str]]] = {
    "postgres": frozenset({"postgres", "psycopg", "psycopg2", "psycopg2-binary", "asyncpg"}),
    "redis": frozenset({"redis", "jobs", "saq", "valkey"}),
    "mongo": frozenset({"mongo", "pymongo", "motor"}),
}
_REQUIREMENT: Final = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?")
_MIGRATIONS: Final = ("alembic.ini", "migrations", "alembic")


@dataclass(frozen=True, slots=True)
class Project:
    """A project as its directory shows it.

    Attributes:
        name: What it is called, in lower-case letters, digits and hyphens.
        install: What pip is to install: "-r requirements.txt", "." by pyproject.toml, or "tonnage"
            alone where there is neither.
        stores: Those of :data:`STORES` that its dependencies speak to.
        migrations: What ``tonnage db migrate`` is to be given: a path, "" for one that it finds
            itself; None: there are no migrations.
    """

    name: str
    install: str
    stores: frozenset[str]
    migrations: str | None


def look(directory: Path, target: str) -> Project:
    """Return what *directory* shows of the project whose application is *target*.

    Raises:
        ConfigError: pyproject.toml is not valid TOML.
    """
    project = _project_table(directory / "pyproject.toml")
    lines = [str(line) for line in project.get("dependencies", ())]
    requirements = directory / "requirements.txt"
    if requirements.is_file():
        lines += requirements.read_text(encoding="utf-8", errors="replace").splitlines()
    return Project(
        name=plain_name(str(project.get("name") or directory.resolve().name)),
        install=REQUIREMENTS if requirements.is_file() else "." if project else "tonnage",
        stores=stores_in(lines),
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
