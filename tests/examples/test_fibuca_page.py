"""Fibuca's page in a real browser: who joins and chooses a photo gets a card."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from tests.browser.chromium import Browser, Page, need_browser
from tests.examples.databases import sqlite_url
from tests.examples.portraits import padded, portrait, write_model
from tests.support.disk import on_a_disk
from tests.support.server import ROOT, Running

from tonnage.units import MIB

pytestmark = pytest.mark.real

# Waits until what *text* says is so, in the page.
_UNTIL = """
for (let tries = 0; !({condition}) && tries < 300; tries++) await wait(50);
if (!({condition})) throw new Error("never: {condition}");
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Yield the page, in a browser."""
    need_browser()
    with on_a_disk(tmp_path_factory.mktemp("fibuca")) as data:
        env = {
            "FIBUCA_DATA": str(data),
            "DATABASE_URL": sqlite_url(data),
            "FIBUCA_MODEL": str(write_model(data / "dark.onnx")),
        }
        with (
            Running(cwd=ROOT / "examples" / "fibuca", env=env) as server,
            Browser() as browser,
        ):
            yield browser.open(f"{server.url.replace('0.0.0.0', '127.0.0.1')}/")


def until(page: Page, condition: str) -> None:
    """Wait until *condition* is true in the page."""
    page.run(_UNTIL.replace("{condition}", condition))


def choose(page: Page, content: bytes) -> None:
    """Choose a file as the photo, as if it were dropped there, and send it."""
    coded = base64.b64encode(content).decode()
    page.run(
        f"const bytes = Uint8Array.from(atob('{coded}'), (each) => each.charCodeAt(0));"
        "choose(new File([bytes], 'me.jpg', { type: 'image/jpeg' }));"
        "at('make').click();"
    )


def test_who_joins_gets_a_card(page: Page) -> None:
    """And one more, with another photo; a photo of more than 2 MB is made smaller first."""
    until(page, "!at('join').hidden")
    page.run("at('name').value = 'Asha Raman'; at('join').requestSubmit()")
    until(page, "!at('send').hidden")
    for photo in (portrait(), padded(portrait(1200, 1600), 3 * MIB)):
        choose(page, photo)
        until(page, "!at('done').hidden")
        until(page, "at('card').naturalWidth === 1011")
        assert page.run("return at('said').hidden && at('pdf').href.startsWith('blob:')")
        page.run("at('again').click()")


def test_what_is_refused_is_said(page: Page) -> None:
    """By the page if it is no picture, else in the server's words; and it can be tried again."""
    page.run("at('again').click(); choose(new File(['none'], 'me.jpg', { type: 'image/jpeg' }))")
    until(page, "at('said').textContent.includes('cannot be shown')")
    choose(page, portrait(format="GIF"))
    until(page, "at('said').textContent.includes('image/gif')")
    assert page.run("return !at('make').disabled")


def test_what_goes_wrong_is_called_what_it_is(page: Page) -> None:
    """A server that is away, or a mistake of the page."""
    page.run("window.confirm = () => true; window.real = fetch")
    page.run("window.fetch = async () => { throw new TypeError('away') }")
    page.run("at('leave').click()")
    until(page, "at('said').textContent.includes('cannot be reached')")
    page.run("window.fetch = async () => null; at('leave').click()")
    until(page, "at('said').textContent.includes('this page')")
    page.run("window.fetch = real")


def test_on_a_phone_all_of_it_can_be_seen_and_touched(page: Page) -> None:
    """What is said is in sight, wherever one was; buttons are as high as a finger needs."""
    page.resize(360, 740)
    page.run("at('again').click(); at('back').hidden = false")
    choose(page, portrait(format="GIF"))
    until(page, "at('said').textContent.includes('image/gif')")
    seen = "const box = at('said').getBoundingClientRect(); return [box.top, box.bottom]"
    top, bottom = page.run(seen)
    assert 0 <= top < bottom <= 740
    heights = page.run(
        "return [...document.querySelectorAll('button, .button')]"
        ".filter((each) => each.offsetParent).map((each) => each.offsetHeight)"
    )
    assert len(heights) == 3
    assert min(heights) >= 48
    assert page.run("return document.documentElement.scrollWidth") == 360


def test_who_leaves_is_forgotten(page: Page) -> None:
    """And may join again."""
    page.run("window.confirm = () => true; at('leave').click()")
    until(page, "!at('join').hidden")
    assert page.run("return localStorage.getItem('fibuca-key')") is None
