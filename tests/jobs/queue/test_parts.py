"""Tickets, seals, news and the shelf, each by itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.jobs.queue import work
from tests.jobs.queue.conftest import call_of
from tests.support.forking import fork, status_of
from tests.support.redis import RedisServer

from tonnage import isolated
from tonnage.errors import ConfigError, JobBusyError, JobError, JobTimeoutError
from tonnage.jobs import queue
from tonnage.jobs.queue import news, transport
from tonnage.jobs.queue.news import Kind, News
from tonnage.jobs.queue.saqueue import client
from tonnage.jobs.queue.sealing import Sealer
from tonnage.jobs.queue.shelf import MOST_IN_REDIS_BYTES, SMALL_BYTES, Shelf
from tonnage.jobs.queue.ticket import Ticket, Where, longest_seconds
from tonnage.jobs.queue.values import opened
from tonnage.jobs.queue.watch import Watch
from tonnage.jobs.wire import Parcel, pack

WHERE = Where("tonnage:jobs:1", 3, "00", False)
TICKET = Ticket(call_of(work.add), "abc", WHERE)
SEALER = Sealer("open sesame")


@pytest.fixture
async def client_of(redis: RedisServer) -> AsyncIterator[Redis]:
    """A client of the real server."""
    made = client(redis.url)
    yield made
    await made.aclose()


def test_a_ticket_comes_back_from_its_fields_and_nonsense_does_not() -> None:
    """Names in it become parts of paths, so they are looked at."""
    assert Ticket.from_fields(TICKET.as_fields()) == TICKET
    fields = TICKET.as_fields()
    for wrong in (
        None,
        {},
        {**fields, "run": "../x"},
        {**fields, "call": {}},
        {**fields, "given": {**fields["given"], "name": "a/../../b"}},
        {**fields, "given": {**fields["given"], "name": ".hidden"}},
        {**fields, "given": {**fields["given"], "size_bytes": "many"}},
    ):
        with pytest.raises(ValueError, match=r"no ticket|missing|sense|not one of ours|literal"):
            Ticket.from_fields(wrong)  # type: ignore[arg-type]


def test_a_seal_fits_what_it_was_made_for_and_nothing_else() -> None:
    """Of another key, for other parts, or of another kind it does not."""
    seal = SEALER.seal("run", {"a": 1, "b": 2})
    assert SEALER.fits(seal, "run", {"b": 2, "a": 1})
    assert not SEALER.fits(seal, "run", {"b": 2, "a": 2})
    assert not Sealer("another").fits(seal, "run", {"a": 1, "b": 2})
    assert not SEALER.fits(None, "run")
    assert not SEALER.fits("é", "run")
    assert "sesame" not in repr(SEALER)


def test_a_job_is_over_some_time_after_all_its_attempts() -> None:
    """So that what is its own can go then."""
    call = call_of(work.add, timeout_seconds=30.0, wait_seconds=10.0)
    assert longest_seconds(call, 2) == 3 * longest_seconds(call, 0) > 3 * 40


def test_work_that_got_no_turn_on_its_worker_is_refused_as_busy() -> None:
    """So that a client is asked to come back, as where the work is done on this machine."""
    told = News(Kind.ENDED, 1, 0, how="JobBusyError", text="all slots are taken")
    with pytest.raises(JobBusyError, match="did not get its turn") as caught:
        opened(TICKET.call, told, Parcel(b""))
    assert caught.value.problem.status == 503


def test_a_worker_of_the_queue_hands_nothing_back_to_it() -> None:
    """What its jobs isolate further is done beside them, or it would wait for itself."""

    def work_here() -> None:
        queue.serve_queue()
        os.environ["TONNAGE_JOBS"] = "redis://127.0.0.1:1/0"
        assert transport() is None

    assert status_of(fork(work_here)) == 0


def test_statistics_are_those_of_this_process_and_none_before_it_hands_anything_over() -> None:
    """Also once all modules of the queue are loaded."""
    assert "tonnage.jobs.queue.producer" in sys.modules
    assert queue.statistics() is None


def test_threads_hear_at_once_that_the_queue_cannot_be_reached() -> None:
    """Whether they ask for a value or for items; an id that is none is their own mistake."""

    def ask() -> None:
        os.environ["TONNAGE_JOBS"] = "redis://127.0.0.1:1/0"
        with pytest.raises(JobBusyError):
            isolated.wait(work.add, 1, 2)
        with pytest.raises(JobBusyError):
            list(isolated(work.steps).iterate(3))
        with pytest.raises(ValueError, match="a job_id has 1 to"):
            isolated.wait(work.add, 1, 2, job_id="")

    assert status_of(fork(ask)) == 0


async def test_news_that_were_changed_or_put_elsewhere_are_refused(client_of: Redis) -> None:
    """Each is bound to its run, its attempt and its place."""
    await client_of.delete(TICKET.news_key)
    await news.tell(client_of, TICKET, News(Kind.RESULT, 1, 0, b"value"), SEALER, 60)
    answer: Any = await client_of.xread({TICKET.news_key: "0"})
    [[_, [[_, entry]]]] = answer
    assert news.read(entry, TICKET, SEALER) == News(Kind.RESULT, 1, 0, b"value")
    for other, ticket in (
        ({**entry, b"value": b"other"}, TICKET),
        (entry, replace(TICKET, run="abd")),
        ({**entry, b"head": entry[b"head"].replace(b'"attempt": 1', b'"attempt": 2')}, TICKET),
        ({**entry, b"head": b"{}"}, TICKET),
    ):
        with pytest.raises(ValueError, match=r"seal|sense"):
            news.read(other, ticket, SEALER)


async def test_a_second_worker_that_begins_anew_does_not_repeat_items(client_of: Redis) -> None:
    """They come once each and in their order; silence after all of it has an end."""
    ticket = replace(TICKET, run="anew", call=call_of(work.steps, timeout_seconds=0.0))
    await client_of.delete(ticket.news_key)

    async def tell(kind: Kind, attempt: int, number: int) -> None:
        told = News(kind, attempt, number, b"%d" % number)
        await news.tell(client_of, ticket, told, SEALER, 60)

    await tell(Kind.BEGUN, 1, 0)
    for number in range(3):
        await tell(Kind.ITEM, 1, number)
    await tell(Kind.BEGUN, 2, 0)
    for number in range(5):
        await tell(Kind.ITEM, 2, number)
    await tell(Kind.RESULT, 2, 5)
    watch = Watch(client_of, ticket, SEALER, retries=1)
    found = [await watch.next() for _ in range(6)]
    assert [each.value for each in found] == [b"%d" % number for number in range(6)]
    assert found[-1].kind is Kind.RESULT
    assert await client_of.get(ticket.lease_key) is not None


@pytest.mark.parametrize("kind", [Kind.ITEM, Kind.RESULT])
async def test_items_that_redis_has_lost_are_not_passed_over(client_of: Redis, kind: Kind) -> None:
    """Whoever waits for them does not take what is left for all there is."""
    ticket = replace(TICKET, run=f"lost{kind}", call=call_of(work.steps), has_items=True)
    await client_of.delete(ticket.news_key)
    for told in (News(Kind.BEGUN, 1, 0), News(Kind.ITEM, 1, 0, b"0"), News(kind, 1, 2, b"2")):
        await news.tell(client_of, ticket, told, SEALER, 60)
    watch = Watch(client_of, ticket, SEALER, retries=1)
    assert (await watch.next()).value == b"0"
    with pytest.raises(JobBusyError) as caught:
        await watch.next()
    assert "has lost" in caught.value.__notes__[0]


async def test_silence_has_an_end(client_of: Redis) -> None:
    """A worker that has begun and is not heard of any more is given up."""
    call = call_of(work.rest, timeout_seconds=0.05, wait_seconds=0.05)
    ticket = replace(TICKET, run="silent", call=call)
    await client_of.delete(ticket.news_key)
    await news.tell(client_of, ticket, News(Kind.BEGUN, 1, 0), SEALER, 60)
    with pytest.raises(JobTimeoutError) as caught:
        await Watch(client_of, ticket, SEALER, 0, patience_seconds=0.05).next()
    assert "nothing was heard" in caught.value.__notes__[0]


async def test_values_go_where_they_fit_and_what_is_over_is_swept(
    client_of: Redis, tmp_path: Path
) -> None:
    """Only what is ours and over, by the clock."""
    now = [1000.0]
    shelf = Shelf(client_of, str(tmp_path), lambda: now[0])
    small, large = pack(b"small", 100, "it"), pack(b"x" * SMALL_BYTES, 2 * SMALL_BYTES, "it")
    places = [await shelf.put(each, 60) for each in (small, large)]
    assert [each.is_stored for each in places] == [False, True]
    assert (await shelf.fetch(places[0])).load() == b"small"
    assert (await shelf.fetch(places[1])).load() == b"x" * SMALL_BYTES
    (tmp_path / "999-of-somebody-else").write_text("stays")
    assert await shelf.sweep() == 0
    now[0] = 1062.0
    assert await shelf.sweep() == 1
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["999-of-somebody-else"]
    await shelf.remove(places[1])
    with pytest.raises(JobError, match="not there any more"):
        await shelf.fetch(places[1])
    await shelf.remove(places[0])
    with pytest.raises(JobError, match="not there any more"):
        await shelf.fetch(places[0])
    large.close()


async def test_a_store_that_fails_is_said_without_what_it_is(tmp_path: Path) -> None:
    """What cannot be removed, and what cannot be opened; there is nothing to sweep without one."""
    redis = client("redis://127.0.0.1:1/0")
    where = Where(f"999-{'0' * 32}", 3, "00", True)
    (tmp_path / where.name).mkdir()
    with pytest.raises(JobError, match="TONNAGE_JOB_RESULTS could not do what was asked"):
        await Shelf(redis, str(tmp_path)).remove(where)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="TONNAGE_JOB_RESULTS cannot be used"):
        await Shelf(redis, str(tmp_path / "file")).remove(where)
    assert await Shelf(redis, None).sweep() == 0


async def test_what_was_changed_on_its_way_is_not_given(client_of: Redis) -> None:
    """The digest is part of what is sealed."""
    shelf = Shelf(client_of, None)
    where = await shelf.put(Parcel(b"value"), 60)
    await client_of.set(where.name, b"other", ex=60)
    with pytest.raises(JobError, match="is not what is there now"):
        await shelf.fetch(where)
    assert shelf.most_bytes == MOST_IN_REDIS_BYTES


def test_places_and_urls_without_sense_are_refused_without_repeating_them(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be a password in them."""
    with pytest.raises(ConfigError, match="TONNAGE_JOB_RESULTS makes no sense") as caught:
        Shelf(client(redis.url), "gopher://secret@host")
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="TONNAGE_JOBS makes no sense") as caught:
        client("gopher://secret@host")
    assert "secret" not in str(caught.value)
    monkeypatch.delenv("TONNAGE_JOBS", raising=False)
    assert transport() is None
