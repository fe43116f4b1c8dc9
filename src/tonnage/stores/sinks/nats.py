"""Records to a subject of NATS JetStream: stored, and acknowledged by the server.

    sink = NatsSink("nats://localhost:4222", "stats.events")

Promises: when a batch is stored, the server has acknowledged each of its records. A record with an
id carries it as ``Nats-Msg-Id``: within the stream's window for duplicates (2 minutes unless it
says otherwise) the server leaves out what it has already. A batch of which a part failed is tried
again as a whole, so what has no id may be stored twice.

The stream that keeps the subject has to be there: its bounds are its owner's. One connection, and
one message for each record on the way. Needs nats-py (``tonnage[nats]``).
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.sinks.onlyone import OnlyOne, needed
from tonnage.stores.sinks.plain import as_json
from tonnage.stores.sinks.rows import own_ids
from tonnage.stores.sinks.verdict import UNSENDABLE, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nats.aio.client import Client

    from tonnage.stores.sinks.sink import Batch

    Message = tuple[str, bytes, dict[str, str] | None]

CONNECT_SECONDS: Final = 10
ACKNOWLEDGED_SECONDS: Final = 5.0
#: Messages that may be without their acknowledgement at a time.
MOST_UNDER_WAY: Final = 256
#: The server ends a connection over a line of 4096, in which there is more than this.
LONGEST_SUBJECT_BYTES: Final = 1024

# What a header takes in a message beside its name and value.
_HEADER_BYTES: Final = 64
_TOO_LARGE: Final = 10054  # for the stream
# Words with dots between them, none of which stands for any other; as NATS has it.
_SUBJECT: Final = re.compile(r"(?![*>](\.|$))[^\s\x00-\x1f.]+(\.(?![*>](\.|$))[^\s\x00-\x1f.]+)*")


class NatsSink:
    """Publishes batches.

    Args:
        servers: a URL, or several of one cluster.
        subject: where records go, or a function that returns it for a record. A record for which
            the function fails, or returns no subject, is rejected.
        id_column: a key by which a record is known; by default its id is what a durable writer gave
            it, if there is one.

    Raises:
        ConfigError: nats-py is not installed, or the subject is none.
    """

    def __init__(
        self,
        servers: str | Sequence[str],
        subject: str | Callable[[Mapping[str, Any]], str],
        *,
        id_column: str | None = None,
    ) -> None:
        self._nats = needed("nats", "nats")
        self._servers = [servers] if isinstance(servers, str) else list(servers)
        if isinstance(subject, str) and not _is_subject(subject):
            raise ConfigError(f"{subject!r} is no subject of NATS")
        self._subject = subject
        self._id_column = id_column
        self._connection: OnlyOne[Client] = OnlyOne(self._connect, _close, _close)

    def __repr__(self) -> str:
        return f"NatsSink({self._subject!r})"

    async def write(self, batch: Batch) -> None:
        """Publish all of *batch*, and wait until the server has stored it.

        Raises:
            RecordsRejectedError: one of the records cannot be written as JSON, is larger than the
                server takes, or has no subject.
        """
        try:
            messages = [
                self._message(record, its_id) for record, its_id in own_ids(batch, self._id_column)
            ]
        except UNSENDABLE as error:
            raise RecordsRejectedError(reason(error)) from error
        async with self._connection.taken() as client:
            # Before the first is sent: afterwards, the others would be sent twice.
            for subject, payload, headers in messages:
                size_bytes = len(payload) + (_HEADER_BYTES + len(str(headers)) if headers else 0)
                if size_bytes > client.max_payload:
                    raise RecordsRejectedError(
                        f"{len(payload)} bytes for {subject!r} are more than the server takes"
                        f" ({client.max_payload})"
                    )
            stream = client.jetstream(timeout=ACKNOWLEDGED_SECONDS)
            for begin in range(0, len(messages), MOST_UNDER_WAY):
                # Not publish_async, which never hears of a message that the server refuses.
                answers = await asyncio.gather(
                    *(
                        stream.publish(subject, payload, headers=headers)
                        for subject, payload, headers in messages[begin : begin + MOST_UNDER_WAY]
                    ),
                    return_exceptions=True,
                )
                for answer in answers:
                    if isinstance(answer, BaseException):
                        self._raise(answer)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    def _message(self, record: Mapping[str, Any], its_id: str | None) -> Message:
        subject = self._subject_of(record)
        if its_id is not None:
            its_id.encode()  # or it is found out when half of the batch is sent
        headers = None if its_id is None else {"Nats-Msg-Id": its_id}
        return subject, as_json(record), headers

    def _subject_of(self, record: Mapping[str, Any]) -> str:
        if isinstance(self._subject, str):
            return self._subject
        try:
            subject = self._subject(record)
        except Exception as error:
            raise RecordsRejectedError(f"no subject: {reason(error)}") from error
        if not _is_subject(subject):
            raise RecordsRejectedError(f"{subject!r} is no subject of NATS")
        return subject

    def _raise(self, error: BaseException) -> NoReturn:
        if getattr(error, "err_code", None) == _TOO_LARGE:
            raise RecordsRejectedError(reason(error)) from error
        raise error

    async def _connect(self) -> Client:
        heard: list[Exception] = []

        async def hear(error: Exception) -> None:
            """Keep what was wrong first; who waits for an acknowledgement hears of it by that."""
            if not heard:
                heard.append(error)

        try:
            client: Client = await self._nats.connect(
                self._servers,
                # The writer tries again, with a connection of its own making: so each server is
                # asked as often as nats-py allows at least, without its pauses.
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_SECONDS,
                error_cb=hear,
            )
        except self._nats.errors.NoServersError as error:
            # It does not say why.
            raise heard[0] if heard else error from None
        return client


def _is_subject(subject: object) -> bool:
    return (
        isinstance(subject, str)
        and _SUBJECT.fullmatch(subject) is not None
        and len(subject.encode()) <= LONGEST_SUBJECT_BYTES
    )


async def _close(client: Client) -> None:
    await client.close()
