"""What queries load: with a limit where it is gathered, in small parts where it is streamed."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pymongo import monitoring
from tests.db.reserving import granting

from tonnage import db
from tonnage.db.mongodb.client import Mongo
from tonnage.db.mongodb.named import Collection
from tonnage.errors import ResultTooLargeError
from tonnage.units import MIB

pytestmark = pytest.mark.real


class Replies(monitoring.CommandListener):
    """Notes how many documents each answer had."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """It was sent."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """It was answered."""
        reply: Any = event.reply
        cursor = reply.get("cursor")
        if cursor is not None:
            self.counts.append(len(cursor.get("firstBatch", cursor.get("nextBatch", ()))))

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """It was not."""


async def test_more_than_may_be_loaded_is_stopped(events: Collection) -> None:
    """With an error that says where, and what, and shows no value."""
    with pytest.raises(ResultTooLargeError) as caught:
        await events.find({"title": {"$ne": "a secret"}, "kind": 3}, max_documents=100).to_list()
    said = str(caught.value)
    assert "more than 100" in said
    assert f"find {events.full_name} {{title, kind}}" in said
    assert "test_mongo_cursors.py:" in said
    assert "secret" not in said
    # The collection can be asked again, with the connection that it has.
    assert len(await events.find({"kind": 3}).to_list()) == 143


async def test_as_much_as_may_be_loaded_is_loaded(events: Collection) -> None:
    """To the last document."""
    assert len(await events.find(max_documents=1000).to_list()) == 1000
    with pytest.raises(ResultTooLargeError):
        await events.find(max_documents=999).to_list()
    # Not all of them are wanted.
    assert len(await events.find(max_documents=5).to_list(5)) == 5


async def test_bytes_count_too(events: Collection) -> None:
    """Few large documents are as bad as many small ones."""
    large = events.database["large"]
    await large.insert_many({"text": "x" * MIB} for _ in range(6))
    with pytest.raises(ResultTooLargeError, match="more than 2 MB"):
        await large.find(max_bytes=2 * MIB).to_list()
    assert len(await large.find(max_bytes=8 * MIB).to_list()) == 6
    with pytest.raises(ValueError, match="max_bytes is a whole number"):
        large.find(max_bytes="1M")  # type: ignore[arg-type]


async def test_an_aggregation_is_bounded_too(events: Collection) -> None:
    """It is shown by its stages."""
    pipeline: list[dict[str, Any]] = [
        {"$match": {"kind": {"$ne": 12345}}},
        {"$project": {"title": 1}},
    ]
    with pytest.raises(ResultTooLargeError, match=r"\[\$match, \$project\]") as caught:
        await (await events.aggregate(pipeline, max_documents=100)).to_list()
    assert "12345" not in str(caught.value)
    assert len(await (await events.aggregate(pipeline)).to_list()) == 1000


async def test_a_query_can_be_warned_about_instead(
    events: Collection, mongo: Mongo, caplog: pytest.LogCaptureFixture
) -> None:
    """Or left alone."""
    for mode, lines in (("warn", 1), ("off", 0)):
        caplog.clear()
        lax = db.mongo(f"{_url(mongo)}/x", guard=mode, max_documents=10)  # type: ignore[arg-type]
        same = lax[events.database.name]["events"]
        with caplog.at_level(logging.WARNING, "tonnage.db"):
            assert len(await same.find({"kind": 1}).to_list()) == 143
        assert len(caplog.records) == lines
        await lax.close()


async def test_batches_follow_the_documents_size(mongo: Mongo, events: Collection) -> None:
    """A stream holds one batch at a time, of about 1 MB; the next cursor knows from the first."""
    replies = Replies()
    watched = db.mongo(f"{_url(mongo)}/x", event_listeners=[replies])[events.database.name]
    large = watched["large"]
    await large.insert_many({"text": "x" * (MIB // 5)} for _ in range(30))
    for first in (10, 4):
        replies.counts.clear()
        assert len([each["_id"] async for each in large.find()]) == 30
        assert replies.counts[0] == first
        assert set(replies.counts[1:-1]) == {4}
    small = watched["events"]
    for first in (10, 101):
        replies.counts.clear()
        assert len([each["_id"] async for each in small.find()]) == 1000
        assert replies.counts[0] == first
        assert len(replies.counts) <= 3
    await watched.client.close()


async def test_a_batch_size_of_ones_own_is_kept(mongo: Mongo, events: Collection) -> None:
    """However it is said, and in clones."""
    replies = Replies()
    watched = db.mongo(f"{_url(mongo)}/x", event_listeners=[replies])[events.database.name]
    small = watched["events"]
    cursors = [small.find(batch_size=300), small.find().batch_size(300)]
    cursors.append(cursors[0].clone())
    for cursor in cursors:
        replies.counts.clear()
        assert len([each async for each in cursor]) == 1000
        assert replies.counts == [300, 300, 300, 100]
    await watched.client.close()


async def test_what_is_gathered_is_reserved(events: Collection) -> None:
    """From the second part on, as much as the parts before let expect."""
    with granting() as memory:
        assert len(await events.find().to_list()) == 1000
    assert memory.kept_bytes == 0
    assert {where for _, where in memory.asked} == {"loop"}
    first, second, *_ = (size_bytes for size_bytes, _ in memory.asked)
    assert first == 0
    assert 100_000 < second < 1_000_000


async def test_all_ways_to_a_collection_are_bounded(events: Collection) -> None:
    """Names, attributes, options, and what was just made."""
    base = events.database
    made = await base.create_collection("made")
    assert made.bounds is events.bounds
    ways = [
        base.events,
        base.get_collection("events"),
        base.with_options()["events"],
        events.with_options(),
        made.events,
        made["events"],
        base.with_options().get_collection("events").with_options(),
    ]
    assert {type(each) for each in ways} == {Collection}
    for each in (base, events):
        with pytest.raises(AttributeError):
            each._nothing  # noqa: B018
    with pytest.raises(ValueError, match="greater than 0"):
        await events.find().to_list(0)


async def test_other_operations_are_pymongos(events: Collection) -> None:
    """One of each kind, since all pass the same gate."""
    assert (await events.find_one({"_id": 5}) or {})["kind"] == 5
    assert await events.count_documents({"kind": 0}) == 143
    assert sorted(await events.distinct("kind")) == list(range(7))
    assert (await events.update_many({"kind": 0}, {"$set": {"kind": 9}})).modified_count == 143
    assert (await events.delete_one({"_id": 0})).deleted_count == 1
    client = events.database.client
    async with client.start_session() as session, await session.start_transaction():
        await events.insert_one({"_id": 0}, session=session)
    assert await events.find_one({"_id": 0}) == {"_id": 0}
    assert "_id_" in await events.index_information()


def test_what_errors_show_is_short() -> None:
    """And no value, whatever a filter is."""
    from tonnage.db.mongodb.bounds import shown_find, shown_pipeline

    many = {f"field{number}": "secret" for number in range(50)}
    assert shown_find("a.b", {}) == "find a.b"
    assert len(shown_find("a.b", many)) < 100
    assert shown_pipeline("a.b", [many, 5]) == "aggregate a.b [field0]"


def _url(mongo: Mongo) -> str:
    """Return the server's address."""
    import os

    given = os.environ.get("TEST_MONGO_URL")
    if given:
        return given.rstrip("/")
    return repr(mongo).split("'")[1].rpartition("/")[0]
