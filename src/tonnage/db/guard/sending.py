"""psycopg's ``execute`` up to where the rows come: sent, and asked for in chunks.

libpq hands out rows while they come ("chunked rows mode", libpq 17; row by row before that). What
is private to psycopg is used in here as its own ``execute`` does. Generators say what to wait for,
and so serve its cursors with and without async.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg._preparing import Prepare
from psycopg.generators import execute, fetch, send

if TYPE_CHECKING:
    from collections.abc import Generator

#: What psycopg is to be told of a statement once it has been prepared.
Prepared: TypeAlias = tuple[Any, Prepare, bytes]


def send_in_chunks(
    cursor: Any,
    query: Any,
    parameters: Any,
    chunk_rows: int,
    *,
    prepare: bool | None = None,
    binary: bool | None = None,
) -> Generator[Any, Any, Prepared | None]:
    """Send *query*, prepared when it would be; return what is to be validated by its result."""
    yield from cursor._start_query(query)
    text = cursor._convert_query(query, parameters)
    way, name = cursor._get_prepared(text, prepare)
    if way is Prepare.SHOULD:
        cursor._send_prepare(name, text)
        cursor._check_results((yield from execute(cursor._pgconn)))
    if way is Prepare.NO:
        cursor._execute_send(text, binary=binary)
    else:
        cursor._send_query_prepared(name, text, binary=binary)
    key = cursor._conn._prepared.maybe_add_to_cache(text, way, name)
    if psycopg.capabilities.has_stream_chunked():
        cursor._pgconn.set_chunked_rows_mode(chunk_rows)
    else:
        cursor._pgconn.set_single_row_mode()
    yield from send(cursor._pgconn)
    return None if key is None else (key, way, name)


def drain(connection: Any) -> Generator[Any, Any, None]:
    """Take the results that are still to come, and drop them; *connection* is libpq's."""
    while (yield from fetch(connection)) is not None:
        pass
