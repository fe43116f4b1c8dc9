"""SQLAlchemy's engines, with pools of ours: ``db.engine()`` and ``db.async_engine()``."""
