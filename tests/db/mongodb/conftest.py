"""A server for MongoDB's protocol, and collections that nobody has used yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.support.mongo import mongo_urls
from tests.support.waiting import until

from tonnage import db
from tonnage.db.mongodb.client import Mongo
from tonnage.db.mongodb.gate import MongoAwayError
from tonnage.db.mongodb.named import Collection


@pytest.fixture(scope="package")
def new_url() -> Iterator[Callable[[], str]]:
    """Yield what returns the URL of an empty database."""
    with mongo_urls() as make:
        yield make


@pytest.fixture
async def mongo(new_url: Callable[[], str]) -> AsyncIterator[Mongo]:
    """Yield a pool of three connections to an empty database."""
    made = db.mongo(_limited(new_url()))
    yield made
    await made.close()


@pytest.fixture
async def events(mongo: Mongo) -> Collection:
    """Return a collection with 1,000 small documents, seven kinds of them."""
    made = mongo.database["events"]
    await made.insert_many({"_id": n, "kind": n % 7, "title": f"no. {n}"} for n in range(1000))
    return made


async def until_it_answers(things: Any) -> None:
    """Wait for a server that comes back."""

    async def answers() -> bool:
        try:
            await things.find_one()
        except MongoAwayError:
            return False
        return True

    await until(answers, 20)


def _limited(url: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}connection_limit=3"
