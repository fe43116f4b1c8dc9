"""LvlUp's database: PostgreSQL or SQLite, as ``DATABASE_URL`` says; else SQLite in ``data/``.

Three connections to ask it with. What is written goes through the writers of ``ingest.py``, which
have a connection of their own each. Where it is away, or too many ask, whoever asked gets 503 and a
time to come again: that is what the engine's errors mean to the server.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Select

from tonnage import db

Query = Select[*tuple[Any, ...]]

#: Where purchases wait, and logs are kept: on a disk that outlives the process.
DATA = Path(os.environ.get("LVLUP_DATA", "data"))
DATA.mkdir(parents=True, exist_ok=True)

#: For the writers: without what it says of pools, of which they have none.
URL = db.driver_url()

# It connects when it is used, in each worker.
engine = db.async_engine()
if engine.dialect.name == "sqlite":
    # Nothing to set up for a first look; elsewhere `tonnage db migrate` is a step of the deploy.
    db.migrate(Path(__file__).with_name("migrations"))


async def ask(query: Query) -> list[dict[str, Any]]:
    """Return what is found: groups that are few."""
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(query)).mappings()]
