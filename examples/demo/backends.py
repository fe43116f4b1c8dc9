"""The four backends, as they are, in one process: each with its data in a directory of its own.

They are written to be alone: three ask for *the* database (``DATABASE_URL``), and find what is
theirs in the working directory. So each is imported while the answer to that is its own. A database
that a variable names is not used here; for that, start a backend by itself.

An application has one database, so there is no public name for this: what it takes of
``tonnage.db.settings`` is Tonnage's own, and may change.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from examples.demo import DATA, HERE

from tonnage.db import settings

__all__ = ["eventide", "fibuca", "fitflix", "lvlup"]


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Have the backend *name*, which is imported meanwhile, find what it finds when it is alone."""
    directory = DATA / name
    directory.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault(f"{name.upper()}_DATA", str(directory))
    sys.path.append(str(HERE.parent / name))
    told = settings.current()
    settings.use(replace(told, database_url=f"sqlite:///{directory / name}.sqlite3"))
    try:
        yield
    finally:
        settings.use(told)


with alone("fitflix"):
    from fitflix.app import app as fitflix
with alone("lvlup"):
    from lvlup.app import app as lvlup
with alone("fibuca"):
    from fibuca.app import app as fibuca
with alone("eventide"):
    from eventide.app import app as eventide
