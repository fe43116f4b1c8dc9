"""Queries that load no more than they may: the guard on an engine of SQLAlchemy's.

    watch(engine, Bounds(10_000, 32 * MIB, "stop", SlowQueries(0.5)))

Promises: a query that would load more rows or bytes than it may is stopped before they are in
memory, with :class:`~tonnage.errors.ResultTooLargeError` (mode ``warn``: logged, and goes on). What
a query loads beyond its first rows is asked for from the governor. Queries that take long are
logged (:mod:`tonnage.db.guard.slow`). What is counted and what is not: :mod:`.contexts`; what the
bounds are worth: :mod:`.tally`.

Does not bound what an application makes of the rows, nor results of its own streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tonnage.db.guard.bounds import Bounds

#: The first one whose asynchronous cursors load as those here have it.
OLDEST_SQLALCHEMY: Final = (2, 1)


def watch(engine: Engine, bounds: Bounds) -> None:
    """Have every query of *engine* keep its *bounds*; of an asynchronous one its ``sync_engine``.

    Raises:
        ConfigError: this SQLAlchemy is too old: it would not be watched.
    """
    import sqlalchemy

    if tuple(map(int, sqlalchemy.__version__.split(".")[:2])) < OLDEST_SQLALCHEMY:
        raise ConfigError(
            f"queries are bounded with SQLAlchemy 2.1 or later, not {sqlalchemy.__version__}:"
            " pip install --upgrade 'tonnage[sql]' 'sqlalchemy>=2.1'"
        )
    from tonnage.db.guard.contexts import guarded

    dialect: Any = engine.dialect
    # The dialect is the engine's own, and so is the kind of context that is set on it here.
    dialect.execution_ctx_cls = guarded(
        dialect.execution_ctx_cls, bounds, dialect.driver, dialect.is_async
    )
