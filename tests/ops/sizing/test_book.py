"""The file of what was observed: whole, one writer, never lost to what cannot be understood."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.ops.sizing.histories import MONDAY, a_history, a_row, week

from tonnage.ops.sizing.book import LONGEST_BYTES, Book, read, read_all
from tonnage.ops.sizing.places import MOST_INSTANCES, file_name, instance_path, state_directory
from tonnage.ops.sizing.record import DAY_SECONDS, History, beside

NAME = "main_app-0badcafe"
HISTORY = week(200, 300)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """The first instance's."""
    found = Book.open(tmp_path / "state", NAME)
    yield found
    found.close()


def test_what_is_written_is_read_as_it_was(book: Book) -> None:
    """All of it, whether it is settled yet or not."""
    assert book.read() is None
    book.write(HISTORY)
    assert book.read() == HISTORY
    assert not book.path.exists()
    book.settle()
    assert read(book.path) == HISTORY
    book.settle()  # again: nothing to do
    assert read(book.path) == HISTORY


def test_nobody_else_may_read_it(book: Book) -> None:
    """Directory 0700, file 0600."""
    book.write(HISTORY)
    book.settle()
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(book.path.parent.stat().st_mode) == 0o700


def test_the_newer_of_the_two_counts(book: Book) -> None:
    """A server killed between writing and settling has left both files."""
    book.write(HISTORY)
    book.settle()
    newer = replace(HISTORY, written_seconds=HISTORY.written_seconds + 300)
    book.write(newer)
    assert read(book.path) == newer


def test_half_of_a_write_does_not_hide_what_was_there(book: Book) -> None:
    """Power fails while the next one is on its way."""
    book.write(HISTORY)
    book.settle()
    book.path.with_suffix(".new").write_bytes(b'{"format":1,"target":"ma')
    assert read(book.path) == HISTORY


def test_instances_do_not_share_a_file(book: Book) -> None:
    """The second takes another, and a place that is free again is taken first."""
    second = Book.open(book.path.parent, NAME)
    assert second.path == instance_path(book.path.parent, NAME, 2) != book.path
    book.close()
    book.close()  # any number of times
    third = Book.open(book.path.parent, NAME)
    assert third.path == book.path
    second.close()
    third.close()


def test_there_are_not_more_instances_than_that(tmp_path: Path) -> None:
    """The tenth is refused, and the server goes on without."""
    books = [Book.open(tmp_path, NAME) for _ in range(MOST_INSTANCES)]
    with pytest.raises(OSError, match="9 instances"):
        Book.open(tmp_path, NAME)
    for each in books:
        each.close()


def test_what_all_instances_saw_is_one_history(book: Book) -> None:
    """Of the same day the higher peak counts, and what was refused adds up."""
    second = Book.open(book.path.parent, NAME)
    book.write(a_history([a_row(MONDAY, 200, refused=1)]))
    second.write(a_history([a_row(MONDAY, 260, refused=2), a_row(MONDAY + DAY_SECONDS, 100)]))
    together = beside(read_all(book.path.parent, NAME))
    second.close()

    assert together is not None
    assert [row.peak_bytes // 2**20 for row in together.days] == [260, 100]
    assert together.days[0].refused == 3
    assert together.days[0].seconds == DAY_SECONDS
    assert beside([]) is None


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"null",
        b'{"format": 1}',
        b" " * (LONGEST_BYTES + 1),
        json.dumps({**HISTORY.to_json(), "format": 0}).encode(),
        json.dumps({**HISTORY.to_json(), "columns": ["other"]}).encode(),
        json.dumps({**HISTORY.to_json(), "days": [[1, 2]]}).encode(),
        json.dumps({**HISTORY.to_json(), "app": "large"}).encode(),
        json.dumps({**HISTORY.to_json(), "written_seconds": float("inf")}).encode(),
        json.dumps({**HISTORY.to_json(), "plan": {"limit": "many"}}).encode(),
    ],
)
def test_what_cannot_be_understood_is_kept_aside(book: Book, damage: bytes) -> None:
    """It is told as what it is, moved, and the next reading finds nothing."""
    book.path.write_bytes(damage)
    with pytest.raises(ValueError, match=r"."):
        book.read()
    aside = book.set_aside()
    assert aside.read_bytes() == damage
    assert book.read() is None
    assert list(read_all(book.path.parent, NAME)) == []


def test_a_link_is_not_followed(book: Book, tmp_path: Path) -> None:
    """Who can write to the directory shall not have us overwrite another file."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    book.path.with_suffix(".new").symlink_to(precious)
    with pytest.raises(OSError, match=r"."):
        book.write(HISTORY)
    assert precious.read_text() == "mine"


def test_its_bound_is_far_from_what_is_kept() -> None:
    """48 hours and 90 days of large figures are a tenth of what is read at most."""
    row = a_row(MONDAY, 900_000, refused=10**9, waited=10**9, in_flight=10**6)
    full = replace(a_history([row] * 90, [row] * 48), directory="/srv/" + "x" * 4000)
    assert len(json.dumps(full.to_json())) < LONGEST_BYTES / 4
    assert History.from_json(json.loads(json.dumps(full.to_json()))) == full


def test_where_it_is(tmp_path: Path) -> None:
    """What was named, XDG_STATE_HOME, systemd's directory, the home; nothing relative counts."""
    environ = {"HOME": "/home/me", "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}
    named = state_directory(tmp_path, environ)
    assert named == tmp_path
    assert state_directory(None, {**environ, "XDG_STATE_HOME": "/s"}) == Path("/s/tonnage")
    assert state_directory(None, {**environ, "XDG_STATE_HOME": "s"}) == Path("/var/lib/a")
    assert state_directory(None, {"HOME": "/home/me"}) == Path("/home/me/.local/state/tonnage")
    assert state_directory(None, {}) is None


def test_each_application_has_its_own_name(tmp_path: Path) -> None:
    """By target and directory, and nothing in a target leads to another directory."""
    names = {
        file_name("main:app", tmp_path),
        file_name("main:app", tmp_path / "other"),
        file_name("main:api", tmp_path),
        file_name("../../etc/passwd:" + "x" * 500, tmp_path),
    }
    assert len(names) == 4
    assert all("/" not in name and not name.startswith(".") and len(name) < 100 for name in names)
