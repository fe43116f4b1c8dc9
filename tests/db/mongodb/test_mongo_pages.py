"""Pages of a collection: together they are the whole list, once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Int64, ObjectId

from tonnage import db
from tonnage.db.mongodb.named import Collection
from tonnage.db.mongodb.pages import Sort, _drop, _with_keys, filter_after, keys_of, only
from tonnage.db.paging.web import PageQuery
from tonnage.errors import PageCursorError, RequestRefusedError

real = pytest.mark.real


def test_the_order_is_made_whole() -> None:
    """By ``_id``, in the direction of the last field, so that one index serves all."""
    assert keys_of("_id") == [("_id", 1)]
    assert keys_of("city") == [("city", 1), ("_id", 1)]
    assert keys_of([("city", 1), ("at", -1)]) == [("city", 1), ("at", -1), ("_id", -1)]
    assert keys_of([("_id", -1), ("city", 1)]) == [("_id", -1)]


@pytest.mark.parametrize("sort", [[], [("a", 2)], [("a", 1), ("a", -1)]])
def test_an_order_without_sense_is_refused(sort: Sort) -> None:
    """It is the application's mistake."""
    with pytest.raises(ValueError, match="sorted by"):
        keys_of(sort)


def test_what_comes_after_a_place() -> None:
    """Null comes before everything, and nothing comes before it."""
    assert filter_after([("_id", 1)], [5]) == {"_id": {"$gt": 5}}
    assert filter_after([("a", 1), ("_id", 1)], [2, 5]) == {
        "$or": [{"a": {"$gt": 2}}, {"$and": [{"a": {"$eq": 2}}, {"_id": {"$gt": 5}}]}]
    }
    assert filter_after([("a", -1), ("_id", -1)], [None, 5]) == {
        "$and": [{"a": {"$eq": None}}, {"_id": {"$lt": 5}}]
    }
    assert filter_after([("_id", -1)], [None]) is None


def test_only_what_is_named_comes() -> None:
    """Not even ``_id``, which MongoDB would add."""
    assert only("title", "place.city") == {"_id": 0, "title": 1, "place.city": 1}
    assert only("_id") == {"_id": 1}
    for wrong in ((), ("",), ("$where",), ("a\x00",)):
        with pytest.raises(ValueError, match="no name of a field"):
            only(*wrong)


def test_what_is_added_to_a_projection_is_taken_out_again() -> None:
    """And nothing else: neither its neighbours, which were asked for, nor an empty rest of it."""
    for asked, sort, kept in (
        (only("a.w"), "a.v", {"a": {"w": 2}}),
        (only("n"), "a.v", {"n": 3}),
        (only("a"), "a.v", {"a": {"v": 1, "w": 2}}),
    ):
        _, hidden = _with_keys(asked, keys_of(sort))
        document = {"_id": 1, "a": {"v": 1, "w": 2}, "n": 3}
        # As a mongod answers that: what was asked for, and what was added.
        if asked == only("n"):
            document["a"] = {"v": 1}
        else:
            del document["n"]
        for field in hidden:
            _drop(document, field)
        assert document == kept
    with pytest.raises(ValueError, match="has a part"):
        _with_keys(only("a.v.x"), keys_of("a.v"))


@pytest.mark.parametrize(
    "asked",
    [{"size": "3"}, {"max_size": 0}, {"sort": ""}, {"sort": "$v"}, {"sort": "x\x00"}],
    ids=str,
)
async def test_a_page_without_sense_is_refused(asked: dict[str, Any]) -> None:
    """By words of ours, before the server hears of it."""
    nowhere = db.mongo("mongodb://127.0.0.1:9/app").database["things"]
    with pytest.raises(ValueError, match=r"whole number|no name of a field"):
        await nowhere.page(**asked)
    with pytest.raises(ValueError, match="no name of a field"):
        only(1)  # type: ignore[arg-type]


@pytest.fixture
async def mixed(events: Collection) -> Collection:
    """Return a collection with ties, without values, and with several kinds of keys."""
    made = events.database["mixed"]
    await made.insert_many(
        {
            "_id": ObjectId(),
            "n": n,
            "kind": n % 5 if n % 4 else None,
            "at": datetime(2026, 1, 1 + n % 9, tzinfo=UTC),
            "big": Int64(2**40 + n % 3),
            "city": {"name": ("Porto", "Évora", "o6b03")[n % 3]},
            **({"seldom": n} if n % 3 else {}),
        }
        for n in range(60)
    )
    return made


ORDERS: list[Sort] = [
    "_id",
    [("_id", -1)],
    "kind",
    [("kind", -1)],
    [("at", 1), ("kind", -1)],
    [("city.name", -1), ("n", 1)],
    [("big", 1)],
    [("seldom", -1)],
]


@real
@pytest.mark.parametrize("sort", ORDERS, ids=str)
async def test_pages_together_are_the_list(mixed: Collection, sort: Sort) -> None:
    """Forwards, and backwards from its end."""
    wanted = {"n": {"$gte": 3}}
    whole = await mixed.find(wanted).sort(keys_of(sort)).to_list()
    found: list[Any] = []
    page = await mixed.page(wanted, sort=sort, size=8)
    assert page.previous is None
    for _ in range(9):
        found += page.rows
        if page.next is None:
            break
        page = await mixed.page(wanted, sort=sort, size=8, after=page.next)
    assert [each["n"] for each in found] == [each["n"] for each in whole]
    back = list(page.rows)
    for _ in range(9):
        if page.previous is None:
            break
        page = await mixed.page(wanted, sort=sort, size=8, before=page.previous)
        back = [*page.rows, *back]
    assert [each["n"] for each in back] == [each["n"] for each in whole]


@real
async def test_a_projection_does_not_break_pages(mixed: Collection) -> None:
    """What they are sorted by is read, and not shown."""
    page = await mixed.page({}, sort=[("at", 1), ("kind", 1)], projection=only("n"), size=5)
    assert [set(each) for each in page.rows] == [{"n"}] * 5
    page = await mixed.page({}, sort="at", projection=["city"], size=5)
    assert {frozenset(each) for each in page.rows} == {frozenset({"_id", "city"})}
    assert page.next
    page = await mixed.page({}, sort="at", projection={"city": 0}, after=page.next, size=5)
    assert "city" not in page.rows[0]
    # By what is inside of something, too; also on a server that has it under its dotted name.
    page = await mixed.page({}, sort="city.name", projection=only("n"), size=20)
    assert {frozenset(each) for each in page.rows} == {frozenset({"n"})}
    seen = [each["n"] for each in page.rows]
    for _ in range(3):
        if page.next is None:
            break
        page = await mixed.page(
            {}, sort="city.name", projection=only("n"), size=20, after=page.next
        )
        seen += [each["n"] for each in page.rows]
    assert sorted(seen) == list(range(60))
    with pytest.raises(ValueError, match="leaves out"):
        await mixed.page({}, sort="at", projection={"at": 0})


@real
async def test_a_page_has_as_much_as_it_may(mixed: Collection) -> None:
    """Whatever is asked for; a page of nothing is refused."""
    assert len((await mixed.page(size=10_000)).rows) == 60
    assert len((await mixed.page(size=10_000, max_size=7)).rows) == 7
    assert len((await mixed.page({}, PageQuery(size=2))).rows) == 2
    assert (await mixed.page({"n": -1})).body() == {"items": [], "next": None, "previous": None}
    with pytest.raises(RequestRefusedError):
        await mixed.page(size=0)
    with pytest.raises(RequestRefusedError):
        await mixed.page(after="x", before="x")


@real
async def test_a_cursor_is_that_of_this_list(mixed: Collection) -> None:
    """Not nonsense, not of another order, and with a secret not made up."""
    first = (await mixed.page(sort="kind", size=5)).next
    assert first
    for wrong, sort in (("nonsense", "kind"), (first, "at"), (first[:-3], "kind")):
        with pytest.raises(PageCursorError):
            await mixed.page(sort=sort, after=wrong)
    with pytest.raises(PageCursorError):
        await mixed.page(sort="kind", after=first, secret=b"0123456789abcdef")
    signed = (await mixed.page(sort="kind", size=5, secret=b"0123456789abcdef")).next
    assert (await mixed.page(sort="kind", after=signed, secret=b"0123456789abcdef")).rows
    # An ObjectId that is none.
    from tonnage.db.paging.cursors import Cursors

    cursors = Cursors(f"{mixed.name} {keys_of('_id')}")
    for value in ("oxyz", ""):
        with pytest.raises(PageCursorError):
            await mixed.page(after=cursors.write([value]))
