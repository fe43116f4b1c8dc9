"""A real database server, one for all tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.support.postgres import drop_database, postgres_urls


@pytest.fixture(scope="session")
def new_postgres_url() -> Iterator[Callable[[], str]]:
    """Yield what makes an empty database and returns its URL."""
    with postgres_urls() as new_url:
        yield new_url


@pytest.fixture
def postgres_url(new_postgres_url: Callable[[], str]) -> Iterator[str]:
    """Yield the URL of an empty database, which is gone afterwards."""
    url = new_postgres_url()
    yield url
    drop_database(url)
