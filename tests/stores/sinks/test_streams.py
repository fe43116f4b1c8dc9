"""Streams for fleets: Redis Streams and NATS JetStream, on real servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.js.api import StorageType
from redis.asyncio import Redis
from redis.exceptions import RedisError
from tests.support.nats import NatsServer
from tests.support.redis import RedisServer

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.sinks import Batch, NatsSink, RedisStreamSink

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """Yield a server of Redis."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    """Yield a server of NATS."""
    with NatsServer() as server:
        yield server


@pytest.fixture
async def nats_client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """Yield a client of it, with an empty stream of what is said under ``stats``."""
    client = await nats.connect(nats_server.url)
    # In memory: files of a stream that was just deleted can be found again under the same name.
    await client.jetstream().add_stream(
        name="stats", subjects=["stats.>"], max_msg_size=2000, storage=StorageType.MEMORY
    )
    yield client
    await client.jetstream().delete_stream("stats")
    await client.close()


async def entries(url: str, stream: str) -> list[dict[str, Any]]:
    """Return what is in a stream of Redis: the records, with their ids as ``#``."""
    async with Redis.from_url(url, decode_responses=True) as client:
        found: Any = await client.xrange(stream)
    return [
        json.loads(fields["json"]) | ({"#": fields["id"]} if "id" in fields else {})
        for _, fields in found
    ]


async def messages(client: Client) -> list[tuple[str, Any, str | None]]:
    """Return what is in the stream of NATS: subjects, records, ids."""
    stream = client.jetstream()
    found = []
    for number in range(1, (await stream.stream_info("stats")).state.last_seq + 1):
        message = await stream.get_msg("stats", number)
        assert message.data is not None
        its_id = (message.headers or {}).get("Nats-Msg-Id")
        found.append((str(message.subject), json.loads(message.data), its_id))
    return found


async def test_redis_has_an_entry_for_each_record(redis_server: RedisServer) -> None:
    """Redis has an entry for each record, with its id where there is one."""
    sink = RedisStreamSink("each", url=redis_server.url, id_column="id")
    await sink.write(Batch([{"name": "a", "tags": [1]}, {"id": 7}]))
    await sink.write(Batch([{"name": "b"}, {"id": 8}], ["x", "y"]))
    await sink.close()
    assert await entries(redis_server.url, "each") == [
        {"name": "a", "tags": [1]}, {"id": 7, "#": "7"}, {"name": "b", "#": "x"},
        {"id": 8, "#": "8"},
    ]  # fmt: skip


async def test_a_stream_of_redis_is_cut(redis_server: RedisServer) -> None:
    """A stream of Redis is cut: about so many entries are kept, the newest."""
    sink = RedisStreamSink("cut", url=redis_server.url, max_length=100)
    for begin in range(0, 1000, 250):
        await sink.write(Batch([{"n": number} for number in range(begin, begin + 250)]))
    await sink.close()
    found = [each["n"] for each in await entries(redis_server.url, "cut")]
    assert 100 <= len(found) < 300
    assert found == list(range(1000 - len(found), 1000))


async def test_what_json_cannot_hold_is_rejected(redis_server: RedisServer) -> None:
    """What JSON cannot hold is rejected before anything is sent."""
    sink = RedisStreamSink("rejected", url=redis_server.url)
    with pytest.raises(RecordsRejectedError, match="no JSON for bytes"):
        await sink.write(Batch([{"n": 1}, {"n": b"x"}]))
    assert await entries(redis_server.url, "rejected") == []


async def test_redis_that_was_away_is_found_again() -> None:
    """Redis that was away is found again; a batch is stored once."""
    with RedisServer() as server:
        sink = RedisStreamSink("events", url=server.url)
        await sink.write(Batch([{"n": 1}]))
        server.kill()
        with pytest.raises((OSError, RedisError)):
            await sink.write(Batch([{"n": 2}]))
        server.start()
        await sink.write(Batch([{"n": 2}]))
        await sink.close()
        assert await entries(server.url, "events") == [{"n": 2}]


async def test_redis_out_of_memory_is_of_the_moment() -> None:
    """Redis that has no memory left is no fault of the records, and takes nothing of a batch."""
    with RedisServer(maxmemory="100kb") as server:
        sink = RedisStreamSink("events", url=server.url)
        with pytest.raises(RedisError):
            await sink.write(Batch([{"n": "x" * 1000}] * 3))
        assert await entries(server.url, "events") == []
        assert server.command("CONFIG", "SET", "maxmemory", "0") == b"+OK\r\n"
        await sink.write(Batch([{"n": 1}]))
        await sink.close()
        assert await entries(server.url, "events") == [{"n": 1}]


def test_a_stream_without_room_is_refused() -> None:
    """A stream without room is refused."""
    with pytest.raises(ConfigError, match="holds nothing"):
        RedisStreamSink("events", max_length=0)


async def test_nats_has_a_message_for_each_record(
    nats_server: NatsServer, nats_client: Client
) -> None:
    """NATS has a message for each record, once for each id."""
    sink = NatsSink(nats_server.url, lambda record: f"stats.{record['kind']}", id_column="id")
    await sink.write(Batch([{"kind": "a"}]))
    for _ in range(2):
        await sink.write(Batch([{"kind": "b"}, {"kind": "c", "id": 7}], ["x", "y"]))
    with pytest.raises(RecordsRejectedError):
        await sink.write(Batch([{"kind": "a"}, {"no": "kind"}]))
    await sink.close()
    assert await messages(nats_client) == [
        ("stats.a", {"kind": "a"}, None),
        ("stats.b", {"kind": "b"}, "x"),
        ("stats.c", {"kind": "c", "id": 7}, "7"),
    ]


async def test_many_are_under_way_at_a_time(nats_server: NatsServer, nats_client: Client) -> None:
    """Many are under way at a time, and arrive in order."""
    sink = NatsSink(nats_server.url, "stats.many")
    await sink.write(Batch([{"n": number} for number in range(1000)]))
    await sink.close()
    assert [record["n"] for _, record, _ in await messages(nats_client)] == list(range(1000))


@pytest.mark.parametrize("size", [1_100_000, 3000])
async def test_what_is_too_large_for_nats_is_rejected(
    nats_server: NatsServer, nats_client: Client, size: int
) -> None:
    """What is too large for the server, or for its stream, is rejected; then it goes on."""
    sink = NatsSink(nats_server.url, "stats.large")
    with pytest.raises(RecordsRejectedError):
        await sink.write(Batch([{"text": "x" * size}]))
    await sink.write(Batch([{"n": 1}]))
    await sink.close()
    assert [record for _, record, _ in await messages(nats_client)] == [{"n": 1}]


async def test_a_subject_that_nobody_keeps_is_of_the_moment(
    nats_server: NatsServer, nats_client: Client
) -> None:
    """A subject that no stream keeps is no fault of the records."""
    sink = NatsSink(nats_server.url, "other")
    with pytest.raises(nats.errors.Error) as caught:
        await sink.write(Batch([{"n": 1}]))
    assert "no response from stream" in str(caught.value)
    await nats_client.jetstream().add_stream(name="other", subjects=["other"])
    await sink.write(Batch([{"n": 1}]))
    await nats_client.jetstream().delete_stream("other")
    await sink.close()


async def test_nats_that_was_away_is_found_again() -> None:
    """NATS that was away is found again."""
    with NatsServer() as server:
        first = await nats.connect(server.url)
        await first.jetstream().add_stream(name="stats", subjects=["stats.>"])
        await first.close()
        sink = NatsSink(server.url, "stats.events")
        await sink.write(Batch([{"n": 1}], ["1"]))
        server.kill()
        with pytest.raises((OSError, TimeoutError, nats.errors.Error)):
            async with asyncio.timeout(0.3):
                await sink.write(Batch([{"n": 2}], ["2"]))
        await asyncio.to_thread(server.start)
        await sink.write(Batch([{"n": 2}], ["2"]))
        await sink.close()
        client = await nats.connect(server.url)
        assert [record["n"] for _, record, _ in await messages(client)] == [1, 2]
        await client.close()


@pytest.mark.parametrize(
    "kind",
    ["a b", "", "*", ">", "a..b", "a\r\nPUB x 1", "\0", "\ud800", "x" * 5000, 7, None, {}, "."],
)
async def test_what_makes_no_subject_is_rejected(
    nats_server: NatsServer, nats_client: Client, kind: object
) -> None:
    """A record of which the function makes no subject is rejected; then it goes on."""

    def subject(record: Any) -> str:
        return f"stats.{record['kind']}" if isinstance(record["kind"], str) else record["kind"]

    sink = NatsSink(nats_server.url, subject)
    with pytest.raises(RecordsRejectedError, match=r"no subject|surrogates"):
        await sink.write(Batch([{"kind": "a"}, {"kind": kind}]))
    await sink.write(Batch([{"kind": "b"}], ["1"]))
    await sink.close()
    assert [subject for subject, _, _ in await messages(nats_client)] == ["stats.b"]


async def test_a_function_for_subjects_may_fail(nats_server: NatsServer) -> None:
    """Whatever the function raises, the record is rejected, with what it says."""

    def subject(record: Any) -> str:
        raise OSError("no table of subjects")

    sink = NatsSink(nats_server.url, subject)
    with pytest.raises(RecordsRejectedError, match="no subject: OSError"):
        await sink.write(Batch([{"n": 1}]))
    await sink.close()


@pytest.mark.parametrize("subject", ["", "a b", "stats.>", "stats.", "x" * 2000])
def test_a_subject_that_is_none_is_refused(subject: str) -> None:
    """A subject that is none is refused when the sink is made."""
    with pytest.raises(ConfigError, match="is no subject of NATS"):
        NatsSink("nats://there", subject)


async def test_ids_of_any_kind_go_to_streams(
    redis_server: RedisServer, nats_server: NatsServer, nats_client: Client
) -> None:
    """An id that no text can hold is rejected; one of several lines stays within its header."""
    broken = Batch([{"n": 1}, {"id": "\ud800"}])
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    for sink in (
        NatsSink(nats_server.url, "stats.ids", id_column="id"),
        RedisStreamSink("ids", url=redis_server.url, id_column="id"),
    ):
        for batch in (broken, Batch([{"deep": deep}]), Batch([{"id": deep}])):
            with pytest.raises(RecordsRejectedError):
                await sink.write(batch)
        await sink.write(Batch([{"id": "a\r\nNats-Expected-Last-Sequence: 7"}]))
        await sink.write(Batch([{"id": None}], ["x"]))
        await sink.close()
    assert [its_id for _, _, its_id in await messages(nats_client)][1:] == ["x"]
    assert [each["#"] for each in await entries(redis_server.url, "ids")][1:] == ["x"]


async def test_nats_that_is_not_there_is_said_at_once() -> None:
    """A server that is not there is said at once, with what is wrong."""
    sink = NatsSink(["nats://127.0.0.1:1", "nats://127.0.0.1:2"], "stats.events")
    async with asyncio.timeout(1):
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await sink.write(Batch([{"n": 1}]))
    await sink.close()
