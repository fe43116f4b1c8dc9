"""The live page in a real browser, of a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from tests.browser.chromium import need_browser, program
from tests.support.ports import free_port
from tests.support.server import Running, connection_to, exchange
from tests.support.slowness import SLOWNESS

pytestmark = pytest.mark.real

WIDTHS = {"phone": (360, 780), "tablet": (768, 1024), "desk": (1440, 900)}
# The package has it for a wrapper, which is not needed.
AXE = resources.files("axe_playwright_python") / "axe.min.js"
TOKEN = "quite-a-long-token-of-ours"
_WAIT_MILLISECONDS = 15_000 * SLOWNESS


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield one browser for all."""
    need_browser()
    expect.set_options(timeout=_WAIT_MILLISECONDS)
    with sync_playwright() as playwright:
        # As root there is no sandbox, as in most containers.
        started = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Yield a server of two workers."""
    need_browser()
    port = str(free_port())
    options = ("--memory", "512M", "--workers", "2", "--admin-port", port)
    with Running("tests.ops.page.shop:app", *options) as running:
        yield running


@contextmanager
def looking(
    browser: Browser, url: str, *, width: str = "desk", scheme: str = "light"
) -> Iterator[Page]:
    """Yield the page at *url*, with its figures; nothing may go wrong in it."""
    wide, high = WIDTHS[width]
    context = browser.new_context(
        viewport={"width": wide, "height": high},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page, wrong = context.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    try:
        page.goto(f"{url}/tonnage")
        expect(page.locator("#link")).to_have_text("live")
        yield page
    finally:
        context.close()
    assert wrong == []


def worker(page: Page, index: int) -> Locator:
    """Return the row of a worker."""
    return page.locator("#workers tbody tr").filter(
        has=page.get_by_role("rowheader", name=str(index), exact=True)
    )


def process(row: Locator) -> Locator:
    """Return where a worker's row has its process."""
    return row.locator("td").nth(-2)


def test_figures_come_by_themselves(browser: Browser, server: Running) -> None:
    """What is asked of the server shows on a page that is not loaded again."""
    with looking(browser, server.url) as page:
        page.evaluate("window.isSame = true")
        route = page.get_by_role("rowheader", name="GET /work", exact=True)
        expect(route).to_have_count(0)

        for _ in range(3):
            assert server.get("/work?mb=1&ms=1").status == 200

        expect(route).to_have_count(1)
        expect(
            page.locator("#routes tbody tr").filter(has=route).locator("td").nth(1)
        ).to_have_text("3")
        expect(page.locator("#level")).to_have_text("OK")
        assert page.evaluate("window.isSame") is True
        assert page.title().startswith("OK · 127.0.0.1:")


def test_the_admin_port_has_it_too(browser: Browser, server: Running) -> None:
    """There the supervisor answers each question by itself, and the browser asks again."""
    url = server.banner("admin").removesuffix("/health")
    with looking(browser, url) as page:
        about = page.locator("#server-about")
        before = about.text_content() or ""

        expect(about).not_to_have_text(before)

        expect(page.locator("#link")).to_have_text("live")


def test_a_worker_is_recycled(browser: Browser, server: Running) -> None:
    """Asked once more, and told; then another process has its place."""
    with looking(browser, server.url) as page:
        before = process(worker(page, 0)).text_content() or ""
        page.get_by_role("button", name="Recycle worker 0").click()
        dialog = page.get_by_role("dialog", name="Recycle worker 0?")
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_be_hidden()

        page.get_by_role("button", name="Recycle worker 0").click()
        dialog.get_by_role("button", name="Recycle", exact=True).click()

        expect(page.locator("#toast")).to_have_text("Worker 0 is being replaced")
        expect(page.locator("#workers")).not_to_contain_text(before)
        expect(page.locator("#events")).to_contain_text("is recycled")
        expect(page.locator("#workers .tag.good")).to_have_count(2)
        # The button, or where it was: the keyboard goes on from there, not from the beginning.
        assert page.evaluate("!!document.activeElement.closest('.scroll')")


def test_a_cache_is_cleared(browser: Browser, server: Running) -> None:
    """In every worker, wherever it was filled."""
    for number in range(8):
        assert server.get(f"/goods/{number}").status == 200
    with looking(browser, server.url) as page:
        entries = page.locator("#stores tr").filter(has_text="goods").locator("td").first
        expect(entries).not_to_have_text("0")
        page.get_by_role("button", name="Clear the cache goods").click()
        dialog = page.get_by_role("dialog", name="Clear the cache “goods”?")
        dialog.get_by_role("button", name="Clear", exact=True).click()

        expect(page.locator("#toast")).to_contain_text("clear the caches called 'goods'")
        expect(entries).to_have_text("0")


def test_the_keyboard_is_enough(browser: Browser, server: Running) -> None:
    """To reach an action, to be asked, to confirm, and to be back where one was."""
    with looking(browser, server.url) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the figures")).to_be_focused()
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.dataset.act") == "reclaim":
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")

        expect(page.locator("#toast")).to_contain_text(re.compile("give memory back|came free"))
        expect(page.get_by_role("button", name="Collect memory")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(browser: Browser, server: Running, scheme: str) -> None:
    """axe-core finds nothing serious: contrast, names, headings, tables, focus."""
    with looking(browser, server.url, scheme=scheme) as page:
        page.locator("#chart-details summary").click()
        expect(page.locator("#chart-table tbody tr").first).to_be_visible()

        assert grave(page) == []
        page.get_by_role("button", name="Collect memory").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert grave(page) == []


def grave(page: Page) -> list[tuple[str, str]]:
    """Return what axe-core finds that keeps people out, or landmarks of one name; where first."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [
        (each["id"], each["nodes"][0]["html"])
        for each in found
        if each["impact"] in ("serious", "critical") or each["id"] == "landmark-unique"
    ]


SHOW = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_many_tabs_leave_connections_to_others(browser: Browser, server: Running) -> None:
    """A browser has six for all of them: a page that is not seen holds none, and comes back."""
    context = browser.new_context()
    pages = []
    for _ in range(8):
        pages.append(context.new_page())
        pages[-1].goto(f"{server.url}/tonnage")
        expect(pages[-1].locator("#link")).to_have_text("live")
        pages[-1].evaluate(SHOW, True)
    assert pages[0].evaluate("fetch('/').then((answer) => answer.status)") == 200

    about = pages[0].locator("#server-about")
    before = about.text_content() or ""
    pages[0].evaluate(SHOW, False)

    expect(about).not_to_have_text(before)
    expect(pages[0].locator("#link")).to_have_text("live")
    context.close()


LATE = """() => {
  AbortSignal.timeout = () => {
    const made = new AbortController();
    window.late = () => made.abort(new DOMException("late", "TimeoutError"));
    return made.signal;
  };
}"""


def test_an_action_without_an_answer_is_no_riddle(browser: Browser, server: Running) -> None:
    """It says that it is being done; and after a while, that nothing came."""
    with looking(browser, server.url) as page:
        page.evaluate(LATE)
        page.route("**/act/*", lambda route: None)
        page.get_by_role("button", name="Collect memory").click()
        page.get_by_role("button", name="Collect", exact=True).click()
        expect(page.locator("#toast")).to_have_text("Working…")

        page.evaluate("window.late()")

        expect(page.locator("#toast")).to_contain_text("no answer yet")


@pytest.mark.parametrize("width", ["phone", "desk"])
def test_what_is_told_covers_nothing_at_the_end(
    browser: Browser, server: Running, width: str
) -> None:
    """The message has a place of its own there; and "Log out" is for who has logged in."""
    with looking(browser, server.url, width=width) as page:
        page.evaluate("document.getElementById('toast').textContent = 'word '.repeat(40)")
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")

        footer, toast = page.locator("footer").bounding_box(), page.locator("#toast").bounding_box()
        assert footer is not None
        assert toast is not None
        assert footer["y"] + footer["height"] <= toast["y"]
        expect(page.get_by_role("button", name="Log out")).to_be_hidden()


SAID = """async () => {
  const { showState } = await import("/tonnage/show.js");
  const state = await (await fetch("/tonnage/state")).json();
  const [first, ...others] = state.status.workers;
  const said = (seconds, level, waiting, refused) => {
    const workers = [{ ...first, waiting }, ...others];
    const status = { ...state.status, level, workers, refused: state.status.refused + refused };
    showState({ ...state, time: state.time + 1000 + seconds, status });
    return document.getElementById("means").textContent.split(". ").slice(1).join(". ");
  };
  return [said(0, "WARNING", 21, 0), said(1, "CRITICAL", 0, 0), said(2, "CRITICAL", 1, 3), said(20, "OK", 0, 3)];
}"""  # noqa: E501  (as the browser has it)


def test_the_level_says_what_becomes_of_requests(browser: Browser, server: Running) -> None:
    """By what waits and was refused, and not by what a level usually means."""
    with looking(browser, server.url) as page:
        warning, critical, busy, ok = page.evaluate(SAID)

    acts = "Caches are emptied and workers may be recycled."
    assert warning == "Memory is being collected. 21 requests wait for memory."
    assert critical == f"{acts} No request waits."
    assert busy == f"{acts} 1 request waits for memory, 3 were refused in the last 10 s."
    assert ok == "There is room."


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_the_screen(browser: Browser, server: Running, width: str) -> None:
    """Nothing hangs out at the side: wide tables scroll in a place of their own."""
    with looking(browser, server.url, width=width) as page:
        expect(page.locator("#plot svg")).to_be_visible()

        assert page.evaluate("document.documentElement.scrollWidth") == WIDTHS[width][0]


def test_routes_are_sorted_as_one_likes(browser: Browser, server: Running) -> None:
    """By a click on what heads a column, and again the other way round."""
    for path in ("/", "/", "/worker"):
        server.get(path)
    with looking(browser, server.url) as page:
        names = page.locator("#routes tbody th")
        expect(page.get_by_role("rowheader", name="GET /worker", exact=True)).to_be_visible()
        head = page.get_by_role("columnheader", name="Route", exact=True)
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", "descending")
        assert names.all_text_contents() == sorted(names.all_text_contents(), reverse=True)

        head.get_by_role("button").click()

        expect(head).to_have_attribute("aria-sort", "ascending")
        assert names.all_text_contents() == sorted(names.all_text_contents())


def test_a_lost_connection_is_said_and_comes_back(browser: Browser) -> None:
    """How old the figures are, while there are no others; and then new ones."""
    need_browser()
    port = str(free_port())
    context = browser.new_context()
    page = context.new_page()
    with Running("benchmarks.app:app", "--memory", "512M", "--port", port) as first:
        page.goto(f"{first.url}/tonnage")
        expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("#link")).to_have_text("connection lost")
    expect(page.locator("#notice")).to_contain_text(re.compile(r"these figures are \d+ s old"))
    with Running("benchmarks.app:app", "--memory", "512M", "--port", port) as second:
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator("#server-about")).to_contain_text(f"process {second.pid}")
        expect(page.locator("#notice")).to_be_hidden()
        context.close()


def test_who_has_the_token_logs_in(browser: Browser) -> None:
    """And may look and act from elsewhere, until the log-in does not hold any more."""
    token = {"TONNAGE_ADMIN_TOKEN": TOKEN}
    # A proxy on this machine, which says whom it asks for.
    elsewhere = browser.new_context(extra_http_headers={"x-forwarded-for": "203.0.113.9"})
    with Running("benchmarks.app:app", "--memory", "512M", env=token) as server:
        page = elsewhere.new_page()
        page.goto(f"{server.url}/tonnage")
        expect(page).to_have_url(f"{server.url}/tonnage/login")
        assert grave(page) == []
        log_in(page, "another")
        expect(page.get_by_role("alert")).to_have_text("This is not the token.")

        log_in(page, TOKEN)
        expect(page.locator("#link")).to_have_text("live")
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        recycle_all(page)
        expect(page.locator("#toast")).to_contain_text("replaced")

        elsewhere.clear_cookies()
        recycle_all(page)
        expect(page.locator("#toast")).to_contain_text("Not done")
        with connection_to(f"http+unix://{server.control}", 5.0) as connection:
            assert exchange(connection, "POST", "/recycle").status == 202
        expect(page.locator("#link")).to_have_text("refused")
        expect(page.locator("#notice").get_by_role("link", name="Log in")).to_be_visible()
        elsewhere.close()


def log_in(page: Page, token: str) -> None:
    """Send *token*."""
    page.get_by_label("Admin token").fill(token)
    page.get_by_role("button", name="Log in").click()


def recycle_all(page: Page) -> None:
    """Press the button, and confirm."""
    page.get_by_role("button", name="Recycle all workers").click()
    page.get_by_role("button", name="Recycle all", exact=True).click()
