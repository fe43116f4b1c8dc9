"""What a backend is given beside it, and what its database has to say afterwards."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest
from benchmarks.beforeafter.scenario import read
from benchmarks.beforeafter.services import services
from tests.support.postgres import need_postgres
from tests.support.server import ROOT

pytestmark = pytest.mark.real

FITFLIX = ROOT / "examples" / "fitflix" / "load.toml"


def test_a_postgresql_with_made_data_counts_what_it_is_asked(tmp_path: Path) -> None:
    """Its queries and their rows, its connections, and those for which it had no room."""
    need_postgres()
    with services(read(FITFLIX), tmp_path) as given, ExitStack() as held:
        url = given.environment["DATABASE_URL"]
        first = held.enter_context(psycopg.connect(url, autocommit=True))
        first.execute("SELECT id FROM events LIMIT 100").fetchall()
        first.execute("INSERT INTO registrations (event_id, name, email) VALUES (3, 'A', 'a@b.c')")
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(psycopg.connect(url))
        given.look()
        held.close()
        found = given.figures()
        made = given.keys("registrations", tmp_path)

    assert made == {"3 a@b.c"}
    assert found["database_refusals"] == 1
    assert found["database_connections"] >= 95
    assert found["database_bytes"] > 10 * 2**20
    assert found["query_rows"] == 100
    assert 0 < found["query_seconds"] < 1


def test_a_sqlite_is_a_new_file_with_made_data(tmp_path: Path) -> None:
    """It has nothing to say of its queries."""
    text = FITFLIX.read_text().replace('database = "postgresql"', 'database = "sqlite"')
    scenario = tmp_path / "fitflix" / "load.toml"
    scenario.parent.mkdir()
    scenario.write_text(text)
    with services(read(scenario), tmp_path) as given:
        assert given.figures() == {}
        assert given.keys("registrations", tmp_path) == set()
    with sqlite3.connect(tmp_path / "app.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM plans").fetchone() == (3,)
    connection.close()
