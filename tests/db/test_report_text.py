"""How a report looks in a terminal: what is told, how wide it is, and what cannot get out of it."""

from __future__ import annotations

from tonnage.db.report.findings import MOST_LINES, Finding, Report, Sized, section
from tonnage.db.report.text import told
from tonnage.db.report.words import ago, share
from tonnage.units import MIB

REPORT = Report(
    "sqlite:///app.db",
    (("library", "SQLite 3.40.1"), ("file", "1 MB")),
    (Sized("events", 60_000, 13 * MIB, 10 * MIB, "analyzed 3 d ago"), Sized("x" * 50, None, 1, 0)),
    (
        section("Unused indexes", "each costs", [Finding("a", "never read", "DROP INDEX a;", MIB)]),
        section("Bloat", "room", []),
    ),
    ("damage: not asked for",),
)


def test_a_report_is_facts_tables_and_findings() -> None:
    """Each finding with its size and its statement; what has none is one line in the end."""
    assert told(REPORT).splitlines() == [
        "sqlite:///app.db",
        "  library  SQLite 3.40.1",
        "  file     1 MB",
        "",
        "largest tables                          rows  table  indexes",
        "events                                60,000  13 MB    10 MB  analyzed 3 d ago",
        "x" * 35 + "…       -    1 B      0 B",
        "",
        "UNUSED INDEXES (1, 1 MB): each costs",
        "  a  1 MB  never read",
        "      DROP INDEX a;",
        "",
        "not known: damage: not asked for",
        "nothing to say of: bloat",
        "1 finding",
    ]


def test_the_largest_findings_are_shown_and_the_others_counted() -> None:
    """A section has its bound."""
    many = section("Unused", "why", [Finding(f"i{size}", "", None, size) for size in range(50)])
    assert len(many.findings) == MOST_LINES
    assert (many.findings[0].what, many.left_off) == ("i49", 30)
    text = told(Report("db", (), (), (many,)))
    assert "UNUSED (50, " in text
    assert "  and 30 more\n50 findings\n" in text.replace("\n\n", "\n")


def test_names_cannot_steer_the_terminal() -> None:
    """Whoever may make a table may give it any name; lines stay within 100 columns."""
    bad = Finding("a\x1b[2Jb\n" + "word " * 60, "told", "DROP INDEX \x1b[31m;")
    text = told(Report("db", (), (Sized("t\x1b]0;x", 1, 1, 1),), (section("Bad", "w", [bad]),)))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_numbers_are_said_for_people() -> None:
    """In one unit, with as much as matters."""
    assert [ago(seconds) for seconds in (0, 90, 150, 7300, 90_000, 3 * 86400)] == [
        "0 s ago", "90 s ago", "2 min ago", "2 h ago", "25 h ago", "3 d ago",
    ]  # fmt: skip
    assert (share(1, 3), share(0, 0)) == ("33 %", "-")
