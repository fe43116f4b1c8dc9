"""Authors and books, for the tests of pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Integer, String
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from tests.db.paging_lists import read_backwards, read_forwards

from tonnage.db.paging.keyset import conditions_after
from tonnage.db.paging.order import order_of
from tonnage.db.paging.rows import with_places

if TYPE_CHECKING:
    from tonnage.db.paging.asking import AnySelect

DIALECTS: dict[str, Any] = {
    "postgresql": postgresql.dialect(),  # type: ignore[no-untyped-call]
    "sqlite": sqlite.dialect(),
    "mysql": mysql.dialect(),
}


class Base(DeclarativeBase):
    """The tables of these tests."""


class Author(Base):
    """Somebody who may be without a country."""

    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    country: Mapped[str | None] = mapped_column(String(2))
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")


class Book(Base):
    """What somebody has written; or nobody knows who."""

    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(40))
    year: Mapped[int] = mapped_column(Integer)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author | None] = relationship(back_populates="books")


class Novel(Book):
    """A book with a table of its own beside the other."""

    __tablename__ = "novel"
    id: Mapped[int] = mapped_column(ForeignKey("book.id"), primary_key=True)
    hero: Mapped[str] = mapped_column(String(40))


class Shelf(Base):
    """Where books stand, by two numbers."""

    __tablename__ = "shelf"
    room: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))


def both_ways(session: Session, statement: AnySelect, whole: list[Any], **options: Any) -> None:
    """Assert that the pages of *statement* are *whole*."""
    for size in (1, 2, 4):
        assert read_forwards(session, statement, size, **options) == whole
        assert read_backwards(session, statement, size, **options) == whole


def sql(clause: Any, dialect: str) -> str:
    """Return *clause* as the database gets it, in one line."""
    compiled = clause.compile(dialect=DIALECTS[dialect], compile_kwargs={"literal_binds": True})
    return re.sub(r"\s+", " ", str(compiled))


def after(
    statement: AnySelect, place: tuple[Any, ...], dialect: str = "postgresql", **options: Any
) -> list[str]:
    """Return the conditions for what comes after *place*."""
    keys = order_of(statement, DIALECTS[dialect], **options)
    return [sql(each, dialect) for each in conditions_after(keys, place, dialect)]


def ordered(statement: AnySelect, dialect: str = "postgresql") -> str:
    """Return the order in which the pages of *statement* are asked for."""
    whole = sql(with_places(statement, order_of(statement, DIALECTS[dialect])), dialect)
    return whole.partition(" ORDER BY ")[2]
