"""Where a project keeps its migrations: an ``alembic.ini``, or a directory alone.

Promises: what is there is read, never written. Both ways of Alembic's are known, and a third one
that needs no file but the migrations:

======================  ========================================================================
``alembic.ini``         as ``alembic`` has it: its ``script_location`` with an ``env.py``
a directory, `env.py``  the same; the ``alembic.ini`` in it or beside it counts, if there is one
a directory, versions   ``versions/*.py`` and nothing else: Tonnage is the environment
======================  ========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tonnage.errors import ConfigError

#: Where migrations are looked for, if nobody says.
USUAL_PLACES: Final = ("alembic.ini", "migrations", "alembic")


@dataclass(frozen=True, slots=True)
class Place:
    """Migrations on disk.

    Attributes:
        ini: the configuration, if there is one.
        scripts: the directory of the migrations; None: the configuration names it.
        environment: the text of ``env.py``; None: there is none, and ours applies. Empty where the
            configuration names the directory.
    """

    ini: Path | None
    scripts: Path | None
    environment: str | None

    @property
    def shown(self) -> str:
        """What to call it."""
        return str(self.scripts or self.ini)


def find(place: Path | str | None = None) -> Place:
    """Return the migrations at *place*, by default at the first of the usual places.

    Raises:
        ConfigError: there are none.
    """
    if place is None:
        for name in USUAL_PLACES:
            if Path(name).exists():
                return find(name)
        raise ConfigError(
            f"there are no migrations here ({', '.join(USUAL_PLACES)}): name their directory"
        )
    path = Path(place)
    if path.is_file():
        return Place(path, None, "")
    if (path / "env.py").is_file():
        beside = (path / "alembic.ini", path.parent / "alembic.ini")
        ini = next((each for each in beside if each.is_file()), None)
        return Place(ini, path, (path / "env.py").read_text(encoding="utf-8"))
    if (path / "versions").is_dir():
        return Place(None, path, None)
    raise ConfigError(
        f"{path} has no migrations: an alembic.ini, or a directory with versions/ is wanted"
    )
