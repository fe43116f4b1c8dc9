"""What a job's worker tells of it, in a stream in Redis: begun, items, and how it ended.

Each entry is sealed and bound to its run, its attempt and its place, so that none can be
put elsewhere or made by others unseen. Small values are in the entry itself, larger ones on the
:class:`~tonnage.jobs.queue.shelf.Shelf`. Whoever comes late reads from the beginning.

Bounded: a stream expires, is removed by whoever has read its end, and has as many entries as a job
has items, which its worker gives no faster than they are read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tonnage.jobs.queue.ticket import Where

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tonnage.jobs.queue.sealing import Sealer
    from tonnage.jobs.queue.ticket import Ticket


class Kind(StrEnum):
    """What an entry says."""

    BEGUN = "begun"
    ITEM = "item"
    RESULT = "result"
    #: The function has raised.
    ERROR = "error"
    #: There is no result, and a line says why; ``how`` is the error's name.
    ENDED = "ended"

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self in (Kind.RESULT, Kind.ERROR, Kind.ENDED)


@dataclass(frozen=True, slots=True)
class News:
    """One entry.

    Attributes:
        kind: what it says.
        attempt: the how-manieth attempt says so, from 1.
        number: the how-manieth entry of that attempt it is, from 0.
        value: a pickled value, if it is small.
        where: where it is, if it is not.
        how: why there is no result, as the name of an error.
        text: the same for people.
    """

    kind: Kind
    attempt: int
    number: int
    value: bytes = b""
    where: Where | None = None
    how: str = ""
    text: str = ""

    def _sealed(self, run: str) -> list[Any]:
        where = asdict(self.where) if self.where else None
        value = hashlib.sha256(self.value).hexdigest()
        return [run, self.kind, self.attempt, self.number, value, where, self.how, self.text]


async def tell(
    redis: Redis, ticket: Ticket, news: News, sealer: Sealer, keep_seconds: float
) -> None:
    """Add *news* to the stream of *ticket*, which is kept for so long from now on."""
    head = {
        "kind": news.kind,
        "attempt": news.attempt,
        "number": news.number,
        "where": asdict(news.where) if news.where else None,
        "how": news.how,
        "text": news.text,
        "seal": sealer.seal(*news._sealed(ticket.run)),
    }
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xadd(ticket.news_key, {"head": json.dumps(head), "value": news.value})
        pipe.expire(ticket.news_key, int(keep_seconds) + 1)
        await pipe.execute()


def read(entry: dict[bytes, bytes], ticket: Ticket, sealer: Sealer) -> News:
    """Return what an entry of the stream says.

    Raises:
        ValueError: it makes no sense, or its seal does not fit.
    """
    try:
        head = json.loads(entry[b"head"])
        where = Where.from_fields(head["where"]) if head["where"] else None
        news = News(
            Kind(head["kind"]),
            int(head["attempt"]),
            int(head["number"]),
            entry[b"value"],
            where,
            str(head["how"]),
            str(head["text"]),
        )
        seal = head["seal"]
    except (KeyError, TypeError) as error:
        raise ValueError("what is told of a job makes no sense") from error
    if not sealer.fits(seal, *news._sealed(ticket.run)):
        raise ValueError("what is told of a job has not the right seal")
    return news
