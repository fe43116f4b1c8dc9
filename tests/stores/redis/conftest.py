"""Fixtures of the tests with Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.redis import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own, running."""
    with RedisServer() as started:
        yield started


@pytest.fixture
def absent() -> Iterator[RedisServer]:
    """One that is not running yet."""
    with RedisServer(running=False) as prepared:
        yield prepared
