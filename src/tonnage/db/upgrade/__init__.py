"""Alembic's migrations as a deploy step, one process at a time; :mod:`tonnage.db.migrations`."""
