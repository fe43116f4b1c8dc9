"""The database: the one that ``DATABASE_URL`` names, PostgreSQL or SQLite.

A connection is held for as long as a statement takes, not for as long as a request does: so five
are enough for 16 threads.
"""

from __future__ import annotations

from pathlib import Path

from tonnage import db

# It connects when it is used, in each worker.
engine = db.engine()
if engine.dialect.name == "sqlite":
    # Nothing to set up for a first look; elsewhere `tonnage db migrate` is a step of the deploy.
    db.migrate(Path(__file__).with_name("migrations"))
