"""What a connection of SQLAlchemy's pool says of itself, and what becomes of it in a forked child.

Promises: neither costs a round trip. Reaches for what SQLAlchemy and drivers do not show, so all of
that is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tonnage.db.pooling.quiet import is_quiet
from tonnage.errors import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry


def may_be_dead(entry: ConnectionPoolEntry) -> bool:
    """Return whether the connection may have ended, as far as its driver knows or its socket says.

    asyncpg hears of the end; psycopg would on its next statement.
    """
    driver = entry.driver_connection
    is_closed = getattr(driver, "is_closed", None)
    if callable(is_closed):
        return bool(is_closed())
    if getattr(driver, "closed", False):
        return True
    libpq = getattr(driver, "pgconn", None)
    return libpq is not None and not is_quiet(libpq.socket)


def taken_from_child(entry: ConnectionPoolEntry) -> object:
    """Have *entry*, which is the parent's, be without a connection; return that, to be kept.

    Whoever has it in use in the child says no word to the server in the name of the parent.
    """
    connection = entry.dbapi_connection
    used = cast("Any", entry).fairy_ref
    fairy = used() if used is not None else None
    if fairy is not None:
        fairy.dbapi_connection = _Parents()
    cast("Any", entry).dbapi_connection = None
    return connection


class _Parents:
    """Stands in a forked child for a connection that was in use in its parent."""

    def rollback(self) -> None:
        """Do nothing: the transaction is the parent's."""

    close = rollback

    def __getattr__(self, name: str) -> Any:
        raise DatabaseError("this connection is the parent's of this process: open another one")
