"""What an engine of SQLAlchemy tells of its connections, and what becomes of its errors.

Promises: a connection that cannot be opened, or that is lost, is a
:class:`~tonnage.errors.DatabaseAwayError`, whose cause is what the driver said; so is a SQLite file
that another has locked for too long. Errors of statements, and what is no outage, stay what they
are. One connection that is lost does not take the others with it: they are asked before they are
used again. Every connection that comes or goes is counted and logged by
:mod:`tonnage.db.pooling.keeper`; the first one asks the server what it allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tonnage.db.pooling.away import is_locked, locked, lost
from tonnage.db.pooling.serverlimits import read, statement

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import ExceptionContext

    from tonnage.db.pooling.keeper import Keeper
    from tonnage.db.pooling.serverlimits import ServerLimits


class EngineEvents:
    """Listens to one engine, and passes on what *keeper* has to know."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def listen(self, engine: Engine) -> None:
        """Begin."""
        from sqlalchemy import event

        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "close", self._closed)
        event.listen(engine, "close_detached", self._closed)
        event.listen(engine, "handle_error", self._on_error, retval=True)

    def _connect(self, dialect: Any, record: object, given: Any, named: dict[str, Any]) -> Any:
        """Open a connection, as the event may do in place of the engine."""
        with self._keeper.connecting():
            return dialect.connect(*given, **named)

    def _connected(self, connection: Any, record: object) -> None:
        self._keeper.opened(self._told(connection) if self._keeper.wants_count else None)

    def _told(self, connection: Any) -> ServerLimits | None:
        try:
            return asked(connection, self._keeper.dialect)
        except Exception as error:  # noqa: BLE001  (a proxy, or a right that is missing)
            self._keeper.not_counted(error)
            return None

    def _closed(self, *_: object) -> None:
        self._keeper.counts.went()

    def _on_error(self, context: ExceptionContext) -> BaseException | None:
        """Have a lost connection be what it is; SQLAlchemy raises it from the driver's error."""
        if is_locked(context.original_exception):
            return locked(self._keeper.name)
        if not context.is_disconnect or not isinstance(context.original_exception, Exception):
            return None  # an error of a statement, or cancelled
        context.invalidate_pool_on_disconnect = False
        self._keeper.lose()
        return None if context.is_pre_ping else lost(self._keeper.name)


def asked(connection: Any, dialect: str) -> ServerLimits:
    """Ask the server by the driver's *connection* what it allows, and how many there are."""
    cursor = connection.cursor()
    try:
        cursor.execute(statement(dialect))
        return read(cursor.fetchone())
    finally:
        cursor.close()
        connection.rollback()
