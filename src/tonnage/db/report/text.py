"""A report as text for a terminal of 100 columns: facts, the largest tables, then findings.

Pure. What comes from the catalogue is printed as far as it is printable: a terminal would obey the
rest. Statements stand on lines of their own, whole, however long they are: they are to be copied.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from tonnage.logs.texts import printable
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tonnage.db.report.findings import Finding, Report, Section, Sized

_WIDTH: Final = 100
_LONGEST_NAME: Final = 36


def told(report: Report) -> str:
    """Return the text of *report*."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield report.database
    width = max((len(name) for name, _ in report.facts), default=0)
    for name, value in report.facts:
        yield from _wrapped(f"  {name:{width}}  ", value)
    if report.tables:
        yield ""
        yield from _table(report.tables)
    for section in report.sections:
        if section.findings:
            yield ""
            yield from _section(section)
    yield ""
    for reason in report.unknown:
        yield from _wrapped("not known: ", reason)
    nothing = [each.title.lower() for each in report.sections if not each.findings]
    if nothing:
        yield from _wrapped("nothing to say of: ", ", ".join(nothing))
    count = sum(len(each.findings) + each.left_off for each in report.sections)
    yield "1 finding" if count == 1 else f"{count} findings"


def _table(tables: Sequence[Sized]) -> Iterator[str]:
    heads = ("largest tables", "rows", "table", "indexes", "")
    rows = [
        (
            _short(each.name),
            "-" if each.rows is None else f"{each.rows:,}",
            _size(each.table_bytes),
            _size(each.index_bytes),
            each.note,
        )
        for each in tables
    ]
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(4)]
    for name, *figures, note in [heads, *rows]:
        right = "  ".join(
            f"{figure:>{width}}" for figure, width in zip(figures, widths[1:], strict=True)
        )
        yield f"{name:{widths[0]}}  {right}  {note}".rstrip()


def _section(section: Section) -> Iterator[str]:
    count = len(section.findings) + section.left_off
    total = sum(each.size_bytes or 0 for each in section.findings)
    size = f", {format_bytes(total)}" if total else ""
    yield from _wrapped("", f"{section.title.upper()} ({count}{size}): {section.why}")
    for finding in section.findings:
        yield from _finding(finding)
    if section.left_off:
        yield f"  and {section.left_off} more"


def _finding(finding: Finding) -> Iterator[str]:
    size = "" if finding.size_bytes is None else format_bytes(finding.size_bytes)
    yield from _wrapped("  ", f"{finding.what}  {size}".rstrip() + f"  {finding.told}", 4)
    if finding.statement is not None:
        yield f"      {printable(finding.statement)}"


def _wrapped(before: str, text: str, indent: int | None = None) -> list[str]:
    return textwrap.wrap(
        printable(text),
        _WIDTH,
        initial_indent=before,
        subsequent_indent=" " * (len(before) if indent is None else indent),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [before.rstrip()]


def _short(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def _size(count: int | None) -> str:
    return "-" if count is None else format_bytes(count)
