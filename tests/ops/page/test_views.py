"""What the supervisor answers to a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ops.page.watched import Watched
from tests.server.scene import Whole, scene

import tonnage.ops.page
from tonnage.ops.page.files import send
from tonnage.ops.query import QueryError

FILES = Path(tonnage.ops.page.__file__).parent / "browser"


@pytest.fixture
def watched() -> Iterator[Watched]:
    """Yield a page."""
    made = Watched()
    yield made
    made.live.close()


@pytest.mark.parametrize("path", ["/tonnage", "/ops/live"])
def test_whatever_the_page_names_is_there(watched: Watched, path: str) -> None:
    """Wherever it is shown: each of its parts is found from there, with its type."""
    html = watched.get(path).body.decode()
    base = path.rpartition("/")[0]

    named = re.findall(r'(?:href|src)="(?!#)([^"]+)"', html)

    assert len(named) == 3
    for link in named:
        assert watched.get(f"{base}/{link}").status == 200
    assert f'action="{path.rpartition("/")[2]}/logout"' in html


def test_each_module_that_is_imported_is_there(watched: Watched) -> None:
    """And none lies about that nobody gets."""
    imported = {
        name
        for part in FILES.glob("*.js")
        for name in re.findall(r'from "\./([\w.]+)"', part.read_text())
    }

    assert imported | {"page.js"} == {part.name for part in FILES.glob("*.js")}
    for name in imported:
        assert watched.get(f"/tonnage/{name}").content_type.startswith(b"text/javascript")


def test_nothing_is_from_elsewhere(watched: Watched) -> None:
    """No file names a host (but for what names SVG), and the browser is told to see to it."""
    for part in FILES.iterdir():
        found = re.findall(r"(?:https?:)?//\w[\w.]*", part.read_text().replace("://www.w3.org", ""))
        assert [each for each in found if not each.startswith("// ")] == [], part.name

    policy = dict(watched.get("/tonnage").headers)[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_nothing_is_written_into_the_page(watched: Watched) -> None:
    """No script and no style: the policy would stop them."""
    for path in ("/tonnage", "/tonnage/login"):
        html = watched.get(path).body.decode()
        assert not re.search(r"<style|style=|<script(?! type=\"module\" src=)| on\w+=", html)


def test_nothing_is_written_into_a_refusal() -> None:
    """It is made of the same parts."""
    html = send("refused.html", {"title": "Forbidden", "page": "/a", "detail": "b"}).body.decode()
    assert not re.search(r"<style|style=|<script| on\w+=|{{", html)


def test_what_comes_from_the_server_is_shown_as_text() -> None:
    """Never as markup: the name of a route, or a line of the log, may be anybody's."""
    for part in FILES.glob("*.js"):
        found = re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write", part.read_text())
        assert found == [], part.name


def test_all_of_it_is_small() -> None:
    """Less than 100 KB."""
    assert sum(part.stat().st_size for part in FILES.iterdir()) < 100_000


def test_the_state_as_an_event(watched: Watched) -> None:
    """One, and when to ask again: a worker makes a stream of it."""
    answer = watched.get("/tonnage/live")

    retry, data = answer.body.decode().removesuffix("\n\n").split("\n")
    assert answer.content_type == b"text/event-stream"
    assert retry == "retry: 1000"
    assert json.loads(data.removeprefix("data: "))["server"]["name"] == "127.0.0.1:8000"


def test_a_report_as_text(watched: Watched) -> None:
    """By its name."""
    watched.shelf.reports = [{"name": "2026-w1", "text": "worker 1 died\nof é"}]

    answer = watched.get("/tonnage/postmortem", "name=2026-w1")

    assert answer.body.decode() == "worker 1 died\nof é"
    assert answer.content_type == b"text/plain; charset=utf-8"
    assert watched.get("/tonnage/postmortem", "name=other").status == 404


@pytest.mark.parametrize("query", ["", "file=x", "name=a&name=b"])
def test_a_report_has_a_name(watched: Watched, query: str) -> None:
    """One."""
    with pytest.raises(QueryError):
        watched.get("/tonnage/postmortem", query)


@pytest.mark.parametrize("name", ["", "..%2Fsecret", "%2Fetc%2Fpasswd", ".secret", "secret%00"])
def test_no_name_leads_out_of_their_directory(tmp_path: Path, name: str) -> None:
    """With the reports of a real server's box."""
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("secret")
    with scene(Whole, reports=tmp_path / "reports") as server:
        watched = Watched(server.operator)
        try:
            assert watched.get("/tonnage/postmortem", f"name={name}").status == 404
        finally:
            watched.live.close()


def test_the_login_says_when_it_failed(watched: Watched) -> None:
    """And else does not."""
    assert b"not the token" in watched.get("/tonnage/login", "failed=1").body
    plain = watched.get("/tonnage/login").body
    assert b"not the token" not in plain
    assert b"{{" not in plain


def test_without_a_path_there_is_no_page(watched: Watched) -> None:
    """An empty one turns it off."""
    assert watched.live.views("") == {}
