"""Where pickled values are while a job goes through the task queue.

Up to :data:`SMALL_BYTES` they are in Redis, under a key that expires; larger ones are in the store
that ``TONNAGE_JOB_RESULTS`` names, a directory or a bucket, from where they go and come in pieces.
Without a store Redis takes up to :data:`MOST_IN_REDIS_BYTES`.

Promises: what is fetched is what was put there, by its digest. Nothing stays for ever: keys expire,
and names in the store say until when they are wanted, so that any worker can remove what nobody
has fetched (:meth:`Shelf.sweep`). One piece of a large value is in memory at once, beside the file
in memory that it ends in. Does not sign (:mod:`tonnage.jobs.queue.sealing`).
"""

from __future__ import annotations

import hashlib
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError, JobError, JobTooLargeError
from tonnage.jobs.queue.ticket import Where
from tonnage.jobs.wire import CHUNK_BYTES, Parcel, Spilling
from tonnage.units import MIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import ObjectStore
    from redis.asyncio import Redis

#: What is larger goes into the store, if there is one.
SMALL_BYTES: Final = 1 * MIB
MOST_IN_REDIS_BYTES: Final = 16 * MIB
#: Of one part of an upload, of which there is one at a time; S3 takes no smaller ones.
_PART_BYTES: Final = 5 * MIB
_LISTED: Final = 100


class Shelf:
    """Puts values there, fetches and removes them.

    Args:
        redis: the client of the queue's Redis.
        place: a directory or ``s3://bucket/prefix``; None: there is only Redis.
        clock: seconds since the epoch.

    Raises:
        ConfigError: *place* makes no sense, or its client is missing.
    """

    def __init__(
        self, redis: Redis, place: str | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._place = place
        self._store: ObjectStore | None = None
        if place is not None and "://" in place and not place.startswith(("s3://", "file://")):
            raise ConfigError(
                "TONNAGE_JOB_RESULTS makes no sense: write a directory or s3://bucket/prefix"
            )

    @property
    def most_bytes(self) -> int | None:
        """How large a value may be; None: the store says."""
        return None if self._place else MOST_IN_REDIS_BYTES

    async def put(self, parcel: Parcel, seconds: float) -> Where:
        """Put the value of *parcel* there for at least so long; the parcel stays as it is.

        Raises:
            JobTooLargeError: it is too large for Redis, and there is no store.
            JobError: the store does not take it.
        """
        digest = hashlib.sha256()
        for piece in parcel.chunks():
            digest.update(piece)
        is_stored = self._place is not None and parcel.size_bytes > SMALL_BYTES
        until = int(self._clock() + seconds) + 1
        name = f"{until}-{uuid.uuid4().hex}" if is_stored else f"tonnage:jobs:{uuid.uuid4().hex}"
        where = Where(name, parcel.size_bytes, digest.hexdigest(), is_stored)
        if is_stored:
            await self._upload(name, parcel)
        elif parcel.size_bytes > MOST_IN_REDIS_BYTES:
            raise JobTooLargeError(
                f"{format_bytes(parcel.size_bytes)} do not go through the task queue's Redis, which"
                f" takes {format_bytes(MOST_IN_REDIS_BYTES)}: set TONNAGE_JOB_RESULTS to a"
                " directory that all machines share, or to s3://bucket/prefix"
            )
        else:
            await self._redis.set(name, b"".join(parcel.chunks()), ex=int(seconds) + 1)
        return where

    async def fetch(self, where: Where) -> Parcel:
        """Return the value; it stays there.

        Raises:
            JobError: it is not there any more, cannot be had, or is not what was put there.
        """
        with Spilling(where.size_bytes, "what the task queue passes on") as file:
            digest = hashlib.sha256()
            async for piece in self._pieces(where):
                digest.update(piece)
                file.write(piece)
            if digest.hexdigest() != where.digest:
                raise JobError("what was put into Redis or the store is not what is there now")
            return file.parcel()

    async def remove(self, where: Where) -> None:
        """Remove it; harmless if it is gone."""
        if not where.is_stored:
            await self._redis.delete(where.name)
            return
        import obstore

        try:
            await obstore.delete_async(self._opened(), where.name)
        except FileNotFoundError:
            pass
        except Exception as error:  # noqa: BLE001  (of obstore, which has many classes)
            raise _refused(error) from None

    async def sweep(self) -> int:
        """Remove from the store what nobody wants any more; return how many values that was.

        Raises:
            JobError: the store cannot be reached.
        """
        if self._place is None:
            return 0
        import obstore

        removed = 0
        try:
            async for batch in obstore.list(self._opened(), chunk_size=_LISTED):
                old = [each["path"] for each in batch if _is_over(each["path"], self._clock())]
                if old:
                    await obstore.delete_async(self._opened(), old)
                    removed += len(old)
        except FileNotFoundError:
            pass  # another worker was faster
        except Exception as error:  # noqa: BLE001  (as above)
            raise _refused(error) from None
        return removed

    async def _upload(self, name: str, parcel: Parcel) -> None:
        import obstore

        try:
            await obstore.put_async(
                self._opened(), name, parcel.chunks(), chunk_size=_PART_BYTES, max_concurrency=1
            )
        except Exception as error:  # noqa: BLE001  (as above)
            raise _refused(error) from None

    async def _pieces(self, where: Where) -> Any:
        if not where.is_stored:
            found = await self._redis.get(where.name)
            if found is None:
                raise JobError("what the task queue was to pass on is not there any more")
            yield found
            return
        import obstore

        try:
            answer = await obstore.get_async(self._opened(), where.name)
            async for piece in answer.stream(min_chunk_size=CHUNK_BYTES):
                yield piece
        except FileNotFoundError:
            raise JobError("what the task queue was to pass on is not there any more") from None
        except Exception as error:  # noqa: BLE001  (as above)
            raise _refused(error) from None

    def _opened(self) -> ObjectStore:
        if self._store is None and self._place is not None:
            self._store = open_store(self._place)
        assert self._store is not None
        return self._store


def open_store(place: str) -> ObjectStore:
    """Return the store at *place*; it is reached when it is used.

    Raises:
        ConfigError: *place* makes no sense, or obstore is missing.
    """
    try:
        from obstore.store import LocalStore, from_url
    except ImportError:
        raise ConfigError("TONNAGE_JOB_RESULTS needs: pip install 'tonnage[objects]'") from None
    try:
        if "://" in place:
            return from_url(place)
        return LocalStore(Path(place).absolute(), mkdir=True)
    except Exception:  # noqa: BLE001  (of obstore; it may repeat the URL, and a secret in it)
        raise ConfigError(
            "TONNAGE_JOB_RESULTS cannot be used: name a directory that can be written, or"
            " s3://bucket/prefix, with AWS_ACCESS_KEY_ID and the like beside it"
        ) from None


def _is_over(name: str, now_seconds: float) -> bool:
    """Return whether *name* is of ours and says that nobody wants it any more."""
    until, _, rest = name.partition("-")
    return until.isdigit() and len(rest) == 32 and int(until) < now_seconds


def _refused(error: Exception) -> JobError:
    if isinstance(error, (JobError, ConfigError)):
        raise error
    return JobError(f"the store of TONNAGE_JOB_RESULTS could not do what was asked: {error!s:.200}")
