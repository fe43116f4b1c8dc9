"""Applications: forms that ask for a membership. Members send them, and the office reads them.

A list has 20 of them, newest first, and no statements, which are by far the largest part: a
statement comes with the one application that somebody opens.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, insert, select

from fibuca.database import engine
from fibuca.refusals import refusal
from fibuca.tables import Application, Member
from tonnage import db

MOST_IN_A_LIST = 20

OF_ALL = select(
    Application.id, Application.number, Member.name, Application.kind, Application.sent_at
).join_from(Application, Member)


def send(number: int, kind: str, statement: str) -> int:
    """Keep an application of member *number*, and return its id."""
    values = {"number": number, "kind": kind, "statement": statement}
    with engine.begin() as connection:
        made = connection.execute(insert(Application).values(values).returning(Application.id))
        return made.scalar_one()


def of_member(number: int, after: str | None) -> dict[str, Any]:
    """Return a page of a member's applications, and where the next begins.

    Raises:
        PageCursorError: *after* is not what a page said.
    """
    own = db.only(Application, "id", "kind", "sent_at").where(Application.number == number)
    return _page(own, after)


def of_all(after: str | None) -> dict[str, Any]:
    """Return a page of everybody's applications, and where the next begins.

    Raises:
        PageCursorError: *after* is not what a page said.
    """
    return _page(OF_ALL, after)


def whole(id: int) -> dict[str, Any]:
    """Return one application, with its statement.

    Raises:
        RequestRefusedError: there is none.
    """
    query = OF_ALL.add_columns(Application.statement).where(Application.id == id)
    with engine.connect() as connection:
        found = connection.execute(query).one_or_none()
    if found is None:
        raise refusal(404, "no_such_application", "there is no such application, or not any more")
    return dict(found._mapping)


def _page(query: Select[*tuple[Any, ...]], after: str | None) -> dict[str, Any]:
    with engine.connect() as connection:
        page = db.page(
            connection,
            query.order_by(Application.id.desc()),
            size=MOST_IN_A_LIST,
            after=after,
            is_order_unique=True,
        )
    return {"applications": [dict(row._mapping) for row in page.rows], "next": page.next}
