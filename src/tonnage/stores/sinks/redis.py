"""Records into a stream of Redis or Valkey, for whoever reads them there.

    sink = RedisStreamSink("events", max_length=100_000)       # REDIS_URL says where

Promises: a batch is stored whole or not at all. The stream keeps the newest *max_length* entries,
and up to some hundred more, since cutting it exactly would cost time; what nobody has read until
then is gone.

An entry has the field ``json`` and, where a durable writer gave one, ``id``: Redis does not leave
out what comes twice, so whoever reads goes by that. One connection. Needs redis-py
(``tonnage[redis]``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.redis.connecting import redis_client, required_url
from tonnage.stores.sinks.onlyone import OnlyOne, needed
from tonnage.stores.sinks.plain import as_json
from tonnage.stores.sinks.rows import own_ids
from tonnage.stores.sinks.verdict import UNSENDABLE, reason

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tonnage.stores.sinks.sink import Batch

MAX_LENGTH: Final = 100_000


class RedisStreamSink:
    """Appends batches to a stream.

    Args:
        stream: its key.
        url: where Redis is; by default what REDIS_URL says when it is first needed.
        max_length: how many entries are kept.
        id_column: a key by which a record is known; by default its id is what a durable writer gave
            it, if there is one.

    Raises:
        ConfigError: redis-py is not installed, or the bound makes no sense.
    """

    def __init__(
        self,
        stream: str,
        *,
        url: str | None = None,
        max_length: int = MAX_LENGTH,
        id_column: str | None = None,
    ) -> None:
        needed("redis.asyncio", "redis")
        if max_length < 1:
            raise ConfigError(f"stream {stream!r}: a length of {max_length} holds nothing")
        self._stream = stream
        self._url = url
        self._max_length = max_length
        self._id_column = id_column
        self._connection: OnlyOne[Redis] = OnlyOne(self._connect, _close, _close)

    def __repr__(self) -> str:
        return f"RedisStreamSink({self._stream!r})"

    async def write(self, batch: Batch) -> None:
        """Append all of *batch*, in one transaction.

        Raises:
            RecordsRejectedError: one of the records cannot be written as JSON.
        """
        try:
            entries: list[dict[Any, Any]] = [
                {"json": as_json(record)} if its_id is None else
                {"id": its_id.encode(), "json": as_json(record)}
                for record, its_id in own_ids(batch, self._id_column)
            ]  # fmt: skip
        except UNSENDABLE as error:
            raise RecordsRejectedError(reason(error)) from error
        async with self._connection.taken() as client, client.pipeline(transaction=True) as pipe:
            for entry in entries:
                pipe.xadd(self._stream, entry, maxlen=self._max_length, approximate=True)
            await pipe.execute()

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _connect(self) -> Redis:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        url = required_url() if self._url is None else self._url
        # The writer tries again; a second try from here could store a batch twice.
        return redis_client(url, max_connections=1, retry=Retry(NoBackoff(), 0))


async def _close(client: Redis) -> None:
    await client.aclose()
