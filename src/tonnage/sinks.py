"""Where a writer's records may go: ``from tonnage.sinks import PostgresSink``.

=====================  ======================================================  ===================
``PostgresSink``       a table of PostgreSQL, by COPY                          tonnage[postgres]
``SqlSink``            a table of any database that SQLAlchemy knows           tonnage[sql]
``JsonlSink``          files with a line of JSON for each record
``RedisStreamSink``    a stream of Redis or Valkey                             tonnage[redis]
``NatsSink``           a subject of NATS JetStream                             tonnage[nats]
``Sink``, ``Batch``    what yours has to be (a protocol), and what it is given
=====================  ======================================================  ===================

Each is loaded when it is used.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from tonnage.stores.sinks.jsonl import JsonlSink
    from tonnage.stores.sinks.nats import NatsSink
    from tonnage.stores.sinks.postgres import PostgresSink
    from tonnage.stores.sinks.redis import RedisStreamSink
    from tonnage.stores.sinks.sink import Batch, Sink
    from tonnage.stores.sinks.sql import SqlSink

__all__ = [
    "Batch",
    "JsonlSink",
    "NatsSink",
    "PostgresSink",
    "RedisStreamSink",
    "Sink",
    "SqlSink",
]

_WHERE = {
    "Batch": "sink",
    "JsonlSink": "jsonl",
    "NatsSink": "nats",
    "PostgresSink": "postgres",
    "RedisStreamSink": "redis",
    "Sink": "sink",
    "SqlSink": "sql",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'tonnage.sinks' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"tonnage.stores.sinks.{_WHERE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
