"""What an engine of SQLAlchemy tells of its connections, and what becomes of its errors.

Promises: a connection that cannot be opened, or that is lost, is a
:class:`~tonnage.errors.DatabaseAwayError`, whose cause is what the driver said; errors of
statements, and what is no outage, stay what they are. One connection that is lost does not take the
others with it: they are asked before they are used again. Every connection that comes or goes is
counted and logged by :mod:`tonnage.db.pooling.keeper`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tonnage.db.pooling.away import is_away, lost

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import ExceptionContext

    from tonnage.db.pooling.keeper import Keeper


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
        event.listen(engine, "close_detached", self._closed_detached)
        event.listen(engine, "handle_error", self._on_error, retval=True)

    def _connect(self, dialect: Any, record: object, given: Any, named: dict[str, Any]) -> Any:
        """Open a connection, as the event may do in place of the engine."""
        door = self._keeper.door
        door.check()
        try:
            connection = dialect.connect(*given, **named)
        except Exception as error:
            if is_away(error, self._keeper.dialect):
                raise self._keeper.fail(error) from error
            door.gave_up()
            raise
        except BaseException:  # cancelled
            door.gave_up()
            raise
        door.came()
        return connection

    def _connected(self, connection: Any, record: object) -> None:
        self._keeper.opened(connection)

    def _closed(self, connection: object, record: object) -> None:
        self._keeper.closed()

    def _closed_detached(self, connection: object) -> None:
        self._keeper.closed()

    def _on_error(self, context: ExceptionContext) -> BaseException | None:
        """Have a lost connection be what it is; SQLAlchemy raises it from the driver's error."""
        if not context.is_disconnect or not isinstance(context.original_exception, Exception):
            return None  # an error of a statement, or cancelled
        context.invalidate_pool_on_disconnect = False
        self._keeper.lose()
        return None if context.is_pre_ping else lost(self._keeper.name)
