"""What a report consists of: facts, a table of the largest, and findings with what to run.

Plain data; made by :mod:`tonnage.db.report.postgres` and :mod:`tonnage.db.report.sqlite`, told by
:mod:`tonnage.db.report.text`. Bounded: a section keeps :data:`MOST_LINES` findings, the largest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Findings that a section shows, and tables.
MOST_LINES: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at.

    Attributes:
        what: its name, such as that of an index.
        told: what is the matter with it.
        statement: what would change that; never run by us. None: it takes more than a statement.
        size_bytes: how large it is, or how much would come free; None: not a matter of size.
    """

    what: str
    told: str
    statement: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Findings of one kind.

    Attributes:
        title: their kind.
        why: why they matter; and how far to trust them.
        findings: the largest first.
        left_off: how many more there are.
    """

    title: str
    why: str
    findings: tuple[Finding, ...]
    left_off: int = 0


@dataclass(frozen=True, slots=True)
class Sized:
    """A table of the list of the largest; None: not known."""

    name: str
    rows: int | None
    table_bytes: int | None
    index_bytes: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found.

    Attributes:
        database: its URL without the password.
        facts: name and value, for people.
        tables: the largest.
        sections: those with findings, and those without.
        unknown: what could not be asked, and why.
    """

    database: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Sized, ...]
    sections: tuple[Section, ...]
    unknown: tuple[str, ...] = field(default=())


def section(title: str, why: str, findings: Iterable[Finding]) -> Section:
    """Return the section of the largest of *findings*; those without a size keep their order."""
    ordered = sorted(findings, key=lambda each: -(each.size_bytes or 0))
    return Section(title, why, tuple(ordered[:MOST_LINES]), max(0, len(ordered) - MOST_LINES))
