"""Schemas of the reference backends: what migrations make is what the code takes for granted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import String, create_engine, inspect
from tests.examples.databases import KINDS, migrate, sqlite_url
from tests.support.postgres import postgres_urls
from tests.support.server import ROOT

pytestmark = pytest.mark.real

EXAMPLES = ("fitflix", "fibuca", "lvlup")


@pytest.fixture(scope="module", params=KINDS)
def make_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], str]]:
    """Yield what returns the URL of an empty database, of each kind."""
    if request.param == "sqlite":
        yield lambda: sqlite_url(tmp_path_factory.mktemp("schema"))
    else:
        with postgres_urls() as make:
            yield make


@pytest.mark.parametrize("example", EXAMPLES)
def test_migrations_make_what_the_models_say(
    example: str, make_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On each database: tables, columns, types, indexes, and what goes with a row."""
    monkeypatch.syspath_prepend(ROOT / "examples" / example)
    models = import_module(f"{example}.tables").Base.metadata
    url = make_url()
    migrate(example, {"DATABASE_URL": url})

    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(found, models) == []
        inspector = inspect(connection)
        for table in models.tables:
            indexed = first_columns(inspector, table)
            for key in inspector.get_foreign_keys(table):
                assert key["options"]["ondelete"] == "CASCADE"
                assert key["constrained_columns"][0] in indexed
    engine.dispose()


@pytest.mark.parametrize("example", EXAMPLES)
def test_texts_have_bounds(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the ids of sessions, which have those of the writer."""
    monkeypatch.syspath_prepend(ROOT / "examples" / example)
    models = import_module(f"{example}.tables").Base.metadata
    unbounded = [
        f"{column}"
        for table in models.tables.values()
        for column in table.columns
        if isinstance(column.type, String) and column.type.length is None
    ]

    assert unbounded == (["sessions.id"] if example == "lvlup" else [])


def first_columns(inspector: Any, table: str) -> set[str]:
    """Return the columns by which rows of *table* are found quickly."""
    keys = [
        inspector.get_pk_constraint(table)["constrained_columns"],
        *(each["column_names"] for each in inspector.get_indexes(table)),
        *(each["column_names"] for each in inspector.get_unique_constraints(table)),
    ]
    return {columns[0] for columns in keys if columns}
