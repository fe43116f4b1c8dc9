"""What a server is asked, and who gets to see the token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tonnage.commands.checking.asking import Asker
from tonnage.commands.checking.site import SiteQuestions, look_at
from tonnage.commands.checking.sitefacts import Reply
from tonnage.errors import UsageError

ASKED = SiteQuestions(
    health_path="/health",
    metrics_path="/metrics",
    page_path="/tonnage",
    admin_token="open sesame",
    path="/",
    announced_bytes=2**24,
    most_rate_requests=None,
    instances=1,
)


class Notebook(Asker):
    """Notes what is asked, and sends nothing."""

    def __init__(self, url: str, reply: Reply) -> None:
        super().__init__(url)
        self._reply = reply
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def ask(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        announced_bytes: int | None = None,
    ) -> Reply:
        """Note it."""
        self.asked.append((path, headers or {}))
        return self._reply

    def ask_unencrypted(self, path: str) -> Reply:
        """Note it."""
        return self.ask(path)


@pytest.mark.parametrize(
    ("url", "is_sent"),
    [
        ("https://shop.example", True),
        ("http://127.0.0.1:8000", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("http://shop.example", False),
        ("http://127.0.0.1.shop.example", False),
    ],
)
def test_the_token_is_for_figures_alone(url: str, is_sent: bool) -> None:
    """And never crosses a network that anyone can read."""
    notebook = Notebook(url, Reply(200))
    facts = look_at(notebook, ASKED)

    with_token = [path for path, headers in notebook.asked if "authorization" in headers]
    assert with_token == (["/health/memory", "/metrics"] if is_sent else [])
    assert facts.has_token is is_sent


def test_what_is_turned_off_is_not_asked_for() -> None:
    """The path may lead to something of the application's."""
    notebook = Notebook("http://127.0.0.1", Reply(200))
    facts = look_at(notebook, replace(ASKED, metrics_path="", page_path=""))

    assert facts.metrics is None
    assert not {"", "/metrics", "/state", "/tonnage/state"} & {path for path, _ in notebook.asked}


def test_a_stranger_asks_for_metrics_and_for_the_page() -> None:
    """As one who came through a proxy, without the token."""
    notebook = Notebook("https://shop.example", Reply(403))
    facts = look_at(notebook, ASKED)

    assert {"GET /metrics", "GET /tonnage/state"} <= {path for path, _ in facts.strangers}


@pytest.mark.parametrize(
    ("first", "is_outside"),
    [
        (Reply(200), True),
        (Reply(200, is_loopback=True), False),
        (Reply(200, (("server", "uvicorn"),), is_loopback=True), False),
        (Reply(200, (("server", "nginx"),), is_loopback=True), True),
        (Reply(200, (("via", "1.1 varnish"),), is_loopback=True), True),
    ],
)
def test_a_stranger_also_asks_without_a_word_of_a_proxy(first: Reply, is_outside: bool) -> None:
    """But not from the server's own machine, which is trusted: its caches would be cleared."""
    notebook = Notebook("http://shop.example", first)
    facts = look_at(notebook, ASKED)

    asked = [headers for path, headers in notebook.asked if path == "/cache/clear"]
    assert (asked.count({}), len(asked)) == ((1, 2) if is_outside else (0, 1))
    assert (facts.outsiders is not None) is is_outside


def test_looking_for_the_rate_limit_ends_with_it() -> None:
    """At the first refusal; without one, after as many as were allowed."""
    refused = look_at(Notebook("http://127.0.0.1", Reply(429)), _probing(100))
    free = look_at(Notebook("http://127.0.0.1", Reply(200)), _probing(100))

    assert (len(refused.rates or ()), len(free.rates or ())) == (1, 100)


def test_a_server_that_is_not_there_is_asked_once() -> None:
    """There is nothing to find out."""
    notebook = Notebook("http://127.0.0.1", Reply(0, error="the connection is refused"))
    with pytest.raises(UsageError, match=r"127\.0\.0\.1 cannot be asked: the connection"):
        look_at(notebook, ASKED)
    assert len(notebook.asked) == 1


def _probing(most: int) -> SiteQuestions:
    return SiteQuestions("/health", "/metrics", "/tonnage", None, "/", 2**24, most, 1)
