"""The navigation of the site: the lists of docs/index.md, so that there is one table of contents.

A list below a heading is a part of it, called like the heading; below a heading of the third level,
like both. A page that is in none of them is an error of a strict build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx


class Navigation(SphinxTransform):
    """Adds to the index what makes its lists the navigation."""

    default_priority = 800

    def apply(self, **_: Any) -> None:
        """Add a hidden toctree for each section that has a list."""
        if self.env.docname != self.config.root_doc:
            return
        for section in self.document.findall(nodes.section):
            if entries := list(dict.fromkeys(_entries(section))):
                section += self._toctree(_caption(section), entries)

    def _toctree(self, caption: str, entries: list[tuple[str, str]]) -> nodes.Node:
        toctree = addnodes.toctree(
            "",
            parent=self.env.docname,
            entries=entries,
            includefiles=[page for _, page in entries],
            caption=caption,
            rawcaption=caption,
            maxdepth=1,
            glob=False,
            hidden=True,
            includehidden=False,
            numbered=0,
            titlesonly=True,
        )
        return nodes.compound("", toctree, classes=["toctree-wrapper"])


def _entries(section: nodes.section) -> Iterator[tuple[str, str]]:
    """Yield the text and the page of the first link of each item."""
    for list_ in section.children:
        if isinstance(list_, nodes.bullet_list | nodes.enumerated_list):
            for item in list_:
                link = next(iter(item.findall(addnodes.pending_xref)), None)
                if link is not None and link.get("refdomain") == "doc":
                    yield link.astext(), link["reftarget"]


def _caption(section: nodes.section) -> str:
    title = str(section[0].astext())
    above = section.parent
    if isinstance(above, nodes.section) and isinstance(above.parent, nodes.section):
        title = f"{above[0].astext()}: {title[0].lower()}{title[1:]}"
    return title


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_transform(Navigation)
    return {"parallel_read_safe": True}
