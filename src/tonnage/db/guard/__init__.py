"""Queries that load no more than they may: the guard on an engine of SQLAlchemy's.

    watch(engine, max_rows=10_000, max_bytes=32 * MIB, mode="stop", slow_seconds=0.5)

Promises: a query that would load more rows or bytes than it may is stopped before they are in
memory, with :class:`~tonnage.errors.ResultTooLargeError` (mode ``warn``: logged, and goes on). What
a query loads beyond its first rows is asked for from the governor. Queries that take long are
logged (:mod:`tonnage.db.guard.slow`). What is counted and what is not: :mod:`.contexts`; what the
bounds are worth: :mod:`.tally`.

Does not bound what an application makes of the rows, nor results of its own streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.db.guard.tally import Tally
from tonnage.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["Tally", "watch"]

#: The first one whose asynchronous cursors load as those here have it.
OLDEST_SQLALCHEMY: Final = (2, 1)


def watch(
    engine: Engine,
    *,
    max_rows: int | None,
    max_bytes: int | None,
    mode: str,
    slow_seconds: float | None,
) -> None:
    """Have every query of *engine* watched; of an asynchronous one its ``sync_engine``.

    Args:
        engine: to be watched from now on.
        max_rows: that one query may load; None: no bound.
        max_bytes: that its rows may take; None: no bound.
        mode: what happens to one that would load more: ``stop``, ``warn`` or ``off``.
        slow_seconds: one that takes longer is logged; None: none is.

    Raises:
        ConfigError: this SQLAlchemy is too old: it would not be watched.
    """
    import sqlalchemy

    if tuple(map(int, sqlalchemy.__version__.split(".")[:2])) < OLDEST_SQLALCHEMY:
        raise ConfigError(
            f"queries are bounded with SQLAlchemy 2.1 or later, not {sqlalchemy.__version__}:"
            " pip install --upgrade 'tonnage[sql]' 'sqlalchemy>=2.1'"
        )
    from tonnage.db.guard.bounds import Bounds
    from tonnage.db.guard.contexts import guarded
    from tonnage.db.guard.slow import SlowQueries

    bounds = Bounds(max_rows, max_bytes, mode, SlowQueries(slow_seconds))
    dialect: Any = engine.dialect
    # The dialect is the engine's own, and so is the kind of context that is set on it here.
    dialect.execution_ctx_cls = guarded(
        dialect.execution_ctx_cls, bounds, dialect.driver, dialect.is_async
    )
