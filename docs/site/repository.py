"""Files of the checkout that pages link to, such as examples/lvlup/railway.toml, as pages.

Each is shown with colours, and stands beside its page as it is, to be loaded down. A directory is
the list of its files. What is not linked to is not there.
"""

from __future__ import annotations

import posixpath
import shutil
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx


class FileLinks(SphinxTransform):
    """Has links to files and directories lead to their pages."""

    # Before Sphinx copies what is to be loaded down.
    default_priority = 10

    def apply(self, **_: Any) -> None:
        """Turn the links of one page around."""
        for link in [
            *self.document.findall(addnodes.download_reference),
            *self.document.findall(addnodes.pending_xref),
        ]:
            path = posixpath.normpath(
                posixpath.join(posixpath.dirname(self.env.docname), link["reftarget"])
            )
            file = Path(self.env.srcdir, path)
            # Links between pages are MyST's own, and without a suffix.
            if link.get("refdomain") == "doc" or not file.exists():
                continue
            files = sorted(file.glob("[!._]*")) if file.is_dir() else []
            shown: set[str] = _shown(self.env)
            shown |= {path, *(f"{path}/{each.name}" for each in files)}
            uri = self.app.builder.get_relative_uri(self.env.docname, path)
            link.replace_self(nodes.reference("", "", *link.children, refuri=uri, internal=True))


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield the page of each file, and copy the file."""
    for path in sorted(_shown(app.env)):
        file = Path(app.srcdir, path)
        if file.is_dir():
            inside = [each for each in sorted(_shown(app.env)) if Path(each).parent == Path(path)]
            body = "".join(
                f'<li><a href="{escape(app.builder.get_relative_uri(path, each))}">'
                f"{escape(Path(each).name)}</a></li>"
                for each in inside
            )
            body = f"<ul>{body}</ul>"
        else:
            copy = Path(app.outdir, path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            text = file.read_text(encoding="utf-8")
            code = app.builder.highlighter.highlight_block(text, _language(file, text))
            body = f'<p><a href="{escape(file.name)}" download>As a file</a></p>{code}'
        title = escape(path)
        yield path, {"title": title, "body": f"<h1><code>{title}</code></h1>{body}"}, "page.html"


def _shown(env: Any) -> set[str]:
    if not hasattr(env, "files_shown"):
        env.files_shown = set()
    shown: set[str] = env.files_shown
    return shown


def _language(file: Path, text: str) -> str:
    try:
        return str(get_lexer_for_filename(file.name, text).aliases[0])
    except ClassNotFound:
        return str(TextLexer.aliases[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_transform(FileLinks)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": False}
