"""What is found of what was acknowledged: each kind by its key, where the backends keep it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks.stored import keys
from tests.support.mongo import MongoServer, direct, need_mongo


def database(directory: Path, *statements: str) -> str:
    """Return the URL of a database with what *statements* make."""
    path = directory / "app.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return f"sqlite:///{path}"


@pytest.mark.parametrize(
    ("kind", "statements", "found"),
    [
        (
            "events",
            (
                "CREATE TABLE events (properties TEXT)",
                """INSERT INTO events VALUES ('{"id": "7-1"}'), ('{"round": 1}'), (NULL)""",
            ),
            [("7-1",)],
        ),
        (
            "purchases",
            ("CREATE TABLE revenue (purchase TEXT)", "INSERT INTO revenue VALUES ('shop-7')"),
            [("shop-7",)],
        ),
        (
            "registrations",
            (
                "CREATE TABLE registrations (event_id INTEGER, email TEXT)",
                "INSERT INTO registrations VALUES (3, 'a@b.example')",
            ),
            [(3, "a@b.example")],
        ),
        (
            "applications",
            ("CREATE TABLE applications (statement TEXT)", "INSERT INTO applications VALUES ('I')"),
            [("I",)],
        ),
    ],
)
def test_a_record_has_the_key_that_its_sender_knows(
    tmp_path: Path, kind: str, statements: Sequence[str], found: list[tuple[object, ...]]
) -> None:
    """Events that were made have none."""
    assert keys(kind, database(tmp_path, *statements), tmp_path) == found


def test_a_portrait_is_there_if_its_file_is_whole(tmp_path: Path) -> None:
    """Neither a row without a file is one, nor half a file."""
    url = database(
        tmp_path,
        "CREATE TABLE members (number INTEGER, name TEXT)",
        "CREATE TABLE photos (number INTEGER, size_bytes INTEGER)",
        "INSERT INTO members VALUES (1, 'Asha'), (2, 'Ben'), (3, 'Cleo'), (4, 'Dan')",
        "INSERT INTO photos VALUES (1, 5), (2, 5), (3, 5)",
    )
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"whole")
    (tmp_path / "photos" / "2.jpg").write_bytes(b"hal")
    (tmp_path / "photos" / "4.jpg").write_bytes(b"whole")

    assert keys("portraits", url, tmp_path) == [(1, "Asha")]


@pytest.mark.real
def test_a_booking_has_an_event_and_an_address(tmp_path: Path) -> None:
    """And the number of its user, where there is one."""
    need_mongo()
    with MongoServer() as server:
        url = server.database()
        with direct(url) as client:
            there = client.get_default_database()
            there["users"].insert_one({"_id": 5, "email": "c1@example.org"})
            there["bookings"].insert_many(
                [{"event_id": 9, "user_id": 5}, {"event_id": 9, "user_id": 6}]
            )
        assert keys("bookings", url, tmp_path) == [(9, 5, "c1@example.org")]
