"""Which statements can be read in pages, by connections and sessions of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Sequence,
    String,
    TypeDecorator,
    create_engine,
    desc,
    func,
    inspect,
    join,
    literal,
    literal_column,
    outerjoin,
    select,
    text,
    type_coerce,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    Session,
    aliased,
    joinedload,
    selectinload,
)
from sqlalchemy.pool import StaticPool
from tests.db.paging_books import Author, Base, Book, Novel, Shelf, after, both_ways, ordered

from tonnage import db
from tonnage.errors import DatabaseError


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """Yield a session with three authors, nine books and some shelves."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            [
                Author(id=1, name="Ada", country="UK"),
                Author(id=2, name="Bo", country=None),
                Author(id=3, name="Cy", country="UK"),
            ]
        )
        session.add_all(
            [
                Book(id=n, title=f"{n % 4}", year=1990 + n % 2, author_id=n % 3 or None)
                for n in range(1, 7)
            ]
        )
        session.add_all(
            [
                Novel(id=n, title=f"{n % 4}", year=1990, author_id=1, hero="H" * (n % 2))
                for n in (7, 8, 9)
            ]
        )
        session.flush()
        session.add_all([Shelf(room=n % 2, number=n, book_id=n % 5 + 1) for n in range(1, 9)])
        session.commit()
        yield session
    engine.dispose()


def test_entities_are_pages_of_entities(session: Session) -> None:
    """Alone, and with something beside."""
    page = db.page(session, select(Book).order_by(Book.year, Book.title), size=2)
    assert [type(each) for each in page.rows] == [Book, Book]
    whole: Any = session.scalars(select(Book).order_by(Book.year, Book.title, Book.id)).all()
    both_ways(session, select(Book).order_by(Book.year, Book.title), whole)
    pairs = select(Book, Author.name).join(Book.author).order_by(Author.name.desc(), Book.title)
    both_ways(session, pairs, list(session.execute(pairs.order_by(Book.id)).all()))


def test_entities_with_collections_come_once(session: Session) -> None:
    """However these are loaded."""
    for option in (joinedload(Author.books), selectinload(Author.books)):
        statement = select(Author).order_by(Author.country).options(option)
        page = db.page(session, statement, size=2)
        assert [each.id for each in page.rows] == [2, 1]
        assert "books" not in inspect(page.rows[0]).unloaded
        rest = db.page(session, statement, size=2, after=page.next)
        assert [each.id for each in rest.rows] == [3]


def test_joins_of_all_kinds(session: Session) -> None:
    """With rows that have no other side, and with several for one."""
    many = select(Author.id, Book.id).join(Author.books).order_by(Author.country)
    both_ways(session, many, list(session.execute(many.order_by(Author.id, Book.id)).all()))
    outer = select(Book.id, Author.id).outerjoin(Book.author).order_by(Author.id.desc())
    both_ways(session, outer, list(session.execute(outer.order_by(Book.id.desc())).all()))
    back = select(Author.id, Book.id).outerjoin(Author.books).order_by(Book.year)
    both_ways(session, back, list(session.execute(back.order_by(Author.id, Book.id)).all()))
    full = select(Author.id, Book.id).join(Author.books, full=True)
    both_ways(session, full, list(session.execute(full.order_by(Author.id, Book.id)).all()))
    cross = select(Author.id, Book.id).where(Author.id < Book.id).order_by(Book.year)
    both_ways(session, cross, list(session.execute(cross.order_by(Author.id, Book.id)).all()))


def test_aliases_and_inherited_tables(session: Session) -> None:
    """Whatever stands for a table."""
    other = aliased(Book)
    pairs = select(Book.id, other.id).join(other, Book.year == other.year).order_by(other.title)
    both_ways(session, pairs, list(session.execute(pairs.order_by(Book.id, other.id)).all()))
    novels = select(Novel).order_by(Novel.hero.desc())
    both_ways(session, novels, list(session.scalars(novels.order_by(Novel.id.desc())).all()))


def test_an_alias_without_a_name_is_an_entity(session: Session) -> None:
    """Alone or beside others, in pages of both kinds."""
    other, writer = aliased(Book), aliased(Author)
    alone = select(other).order_by(other.title)
    whole: list[Any] = list(session.scalars(alone.order_by(other.id)).all())
    both_ways(session, alone, whole)
    assert db.page_of(session, alone, 2, size=2).rows == whole[2:4]
    pairs = select(Book, writer).join(writer, Book.author_id == writer.id).order_by(Book.title)
    both_ways(session, pairs, list(session.execute(pairs.order_by(Book.id)).all()))


def test_labels_and_their_names_can_be_ordered_by(session: Session) -> None:
    """As SQL has it; they stand for what they label."""
    length = func.lower(Author.name).label("lower")
    for by in (length, "lower"):
        statement = select(Author.id, length).order_by(desc(by))
        both_ways(session, statement, [(3, "cy"), (2, "bo"), (1, "ada")])
    with pytest.raises(DatabaseError, match="'upper', which is not selected"):
        db.page(session, select(Author.id).order_by("upper"))


def test_a_part_of_an_order_can_be_a_subquery(session: Session) -> None:
    """That counts, for each."""
    count = select(func.count()).where(Book.author_id == Author.id).scalar_subquery()
    statement = select(Author.id).order_by(count.desc())
    both_ways(session, statement, [1, 2, 3])


def test_groups_are_paged_as_a_subquery(session: Session) -> None:
    """The message says how."""
    groups = select(Book.year, func.count().label("books")).group_by(Book.year)
    with pytest.raises(DatabaseError, match="GROUP BY cannot be read in pages: make it a subquery"):
        db.page(session, groups)
    rows = groups.subquery()
    statement = select(rows).order_by(rows.c.year)
    with pytest.raises(DatabaseError, match="cannot be told apart"):
        db.page(session, statement)
    both_ways(session, statement, [(1990, 6), (1991, 3)], is_order_unique=True)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (select(Book.year).distinct(), "DISTINCT"),
        (select(Book.id).limit(3), "LIMIT"),
        (select(Book.id).offset(3), "OFFSET"),
        (select(Book.id).fetch(3), "LIMIT"),
        (select(func.now()), "no table"),
        (select(Book.id).order_by(text("id")), "not by text"),
        (select(Book.id).order_by(func.row_number().over(order_by=Book.id)), "windows"),
        (select(Book.id).order_by(literal_column("2")), "no column"),
        (select(Book.id).order_by(literal_column(" 'x' ").desc()), "no column"),
        (select(Book.id).order_by(literal(2)), "no column"),
        (select(Book.id).order_by(func.random()), "no column"),
        (select(Book.id).order_by(Book.year, func.gen_random_uuid().desc()), "no column"),
        (select(Book.id).order_by(func.RANDOM() * Book.year), "another value each time"),
        (select(Book.id).order_by(func.pg_catalog.random() * Book.year), "another value each"),
        (select(Book.id).order_by(literal_column("year * random()")), "another value each time"),
        (select(Book.id).order_by(Sequence("numbers").next_value() + Book.year), "another value"),
        (union_all(select(Book.id), select(Author.id)), "only a select"),
    ],
)
def test_other_statements_are_refused(session: Session, statement: Any, message: str) -> None:
    """With what to do about it."""
    with pytest.raises(DatabaseError, match=message):
        db.page(session, statement)


def test_only_takes_classes_aliases_and_expressions(session: Session) -> None:
    """And what comes out is a select like any other."""
    statement = db.only(Book, "id", Book.title, func.length(Book.title).label("n"))
    assert [str(each["name"]) for each in statement.column_descriptions] == ["id", "title", "n"]
    assert db.page(session, statement.order_by(Book.id), size=1).rows == [(1, "1", 1)]
    assert "author_id" not in str(statement)
    other = aliased(Book, name="other")
    assert "other.title" in str(db.only(other, "title"))
    with pytest.raises(DatabaseError, match="Book has no column 'titel': did you mean 'title'"):
        db.only(Book, "titel")
    with pytest.raises(DatabaseError, match="no column 'author':"):
        db.only(Book, "author")
    with pytest.raises(DatabaseError, match="did you mean 'title'"):
        db.only(other, "titel")
    with pytest.raises(DatabaseError, match="is neither"):
        db.only(Book(), "title")
    for wanted in (5, None, Author, Book.author, Author.__table__):
        with pytest.raises(DatabaseError, match="is no column"):
            db.only(Book, "id", wanted)


async def test_with_an_asynchronous_connection_it_is_awaited() -> None:
    """Connections and sessions alike, pages of both kinds."""
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.execute(
                Author.__table__.insert(),  # type: ignore[attr-defined]
                [{"id": n, "name": "Ada"} for n in range(1, 6)],
            )
            statement = select(Author.id, Author.country).order_by(Author.country)
            first = await db.page(connection, statement, size=4)
            second = await db.page(connection, statement, size=4, after=first.next)
            assert [row.id for row in second.rows] == [5]
            numbered = await db.page_of(connection, statement, 2, size=4, count_to=10)
            assert (numbered.rows, numbered.total) == (second.rows, 5)
        async with AsyncSession(engine) as session:
            page = await db.page(session, select(Author).order_by(Author.name), size=2)
            assert [author.name for author in page.rows] == ["Ada", "Ada"]
    finally:
        await engine.dispose()


def test_a_literal_column_is_an_expression_like_others(session: Session) -> None:
    """Its NULLs are not known, so that both ranges are asked for."""
    statement = select(Author.id).order_by(literal_column("country"))
    both_ways(session, statement, [2, 1, 3])


def test_joins_within_joins_are_followed(session: Session) -> None:
    """Whatever is on the right."""
    within = join(Shelf, Book, Shelf.book_id == Book.id)
    statement = (
        select(Author.id, Shelf.number)
        .select_from(outerjoin(Author, within, Author.id == Book.author_id))
        .order_by(Author.name)
    )
    assert ordered(statement) == (
        "author.name ASC, author.id ASC, shelf.room ASC, shelf.number ASC"
    )
    whole = statement.order_by(Author.id, Shelf.room, Shelf.number)
    both_ways(session, statement, list(session.execute(whole).all()))


def test_an_order_that_is_unique_may_have_a_null_at_its_end(session: Session) -> None:
    """After which there is nothing, and nothing is asked for."""
    countries = select(Author.country).distinct().subquery()
    statement = select(countries).order_by(countries.c.country.desc())
    both_ways(session, statement, ["UK", None], is_order_unique=True)
    first = db.page(session, statement, size=1, is_order_unique=True)
    second = db.page(session, statement, size=1, after=first.next, is_order_unique=True)
    assert (second.rows, second.next) == ([None], None)
    assert after(statement, (None,), "sqlite", is_order_unique=True) == []


class Loud(TypeDecorator[str]):
    """Texts that the application writes in its own way."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """Return how it is kept."""
        return None if value is None else value.lower()

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        """Return how the application has it."""
        return None if value is None else value.upper()


def test_types_of_the_application_can_be_ordered_by(session: Session) -> None:
    """As long as their values are among those that cursors hold."""
    name = type_coerce(func.lower(Author.name), Loud)
    both_ways(session, select(Author.id, name).order_by(name), [(1, "ADA"), (2, "BO"), (3, "CY")])
