"""What pip would install where the files are used, and what the start would lack there.

Promises: names the line to add. Does not: resolve dependencies, or look at what is installed here;
a platform where the user makes the environment (systemd) is left to the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tonnage import __version__
from tonnage.commands.deploying.project import REQUIREMENTS, TONNAGE
from tonnage.commands.deploying.told import Told

_INSTALLED_BY_HAND: Final = frozenset({"systemd"})


def doubts(told: Told) -> Iterator[str]:
    """Yield what people are warned of before they deploy what *told* says."""
    if told.platform in _INSTALLED_BY_HAND or told.project.has_tonnage:
        return
    if told.project.install == TONNAGE:
        yield (
            "there is neither a requirements.txt nor a pyproject.toml with [project], so nothing"
            " but Tonnage would be installed: put what the application imports into a"
            f" requirements.txt, with the line {requirement(told)}"
        )
        return
    where = "requirements.txt has"
    if told.project.install != REQUIREMENTS:
        where = "the dependencies in pyproject.toml have"
    yield (
        f"{where} no Tonnage, so it would not be installed, and the start command would not be"
        f" found: add {requirement(told)}"
    )


def requirement(told: Told) -> str:
    """Return the line for a requirements.txt, with the extras that nothing else there brings."""
    extras = set(told.stores - told.project.stores)
    if told.migrate is not None:
        extras.add("migrations")
    if told.jobs_in_redis:
        extras.add("jobs")
    named = f"[{','.join(sorted(extras))}]" if extras else ""
    return f"{TONNAGE}{named}=={__version__}"
