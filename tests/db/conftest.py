"""Real PostgreSQL servers: one for all who do not stop it, and one of a file's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.support.postgres import PostgresServer, postgres_urls


@pytest.fixture(scope="package")
def new_postgres_url() -> Iterator[Callable[[], str]]:
    """Yield what makes an empty database and returns its URL."""
    with postgres_urls() as new_url:
        yield new_url


@pytest.fixture(scope="module")
def postgres(new_postgres_url: Callable[[], str]) -> str:
    """Return the URL of one database for all tests of a file."""
    return new_postgres_url()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Yield a server with room for 20 connections."""
    with PostgresServer(max_connections="20") as server:
        yield server
