"""The demonstration, as `make run` starts it: four backends behind one server, and loads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from examples.demo.loads import LOADS, portrait
from playwright.sync_api import Browser, expect, sync_playwright
from tests.browser.chromium import need_browser, program
from tests.examples.portraits import finished, write_model
from tests.support.mongo import need_mongo
from tests.support.server import Response, Running, clean_environment
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

# In place of `python -m tonnage run`; what follows that goes to the demonstration.
LAUNCHER = ("sh", "-c", 'shift 3; exec "$0" -m examples.demo "$@"')
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
WIDTHS = (360, 768, 1440)


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """Yield where all is kept: on a disk, which pytest's directory may not be."""
    with TemporaryDirectory(prefix="demo-", dir="/var/tmp") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Running]:
    """Yield the server, and beside it what stands in for MongoDB; all has ended afterwards."""
    need_mongo()
    env = {"DEMO_DATA": str(data), "FIBUCA_MODEL": str(write_model(data / "dark.onnx"))}
    with Running(wrapper=LAUNCHER, env=env) as running:
        yield running
        # Whoever ends it while a load runs leaves nothing behind.
        assert from_page(running, "?begin=crowd").status == 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a browser."""
    need_browser()
    expect.set_options(timeout=15_000 * SLOWNESS)
    with sync_playwright() as playwright:
        # As root there is no sandbox, as in most containers.
        started = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        yield started
        started.close()


def from_page(server: Running, wish: str = "") -> Response:
    """Ask for the load, as the start page does."""
    return server.request("POST", f"/loads{wish}", headers={"origin": server.url})


def load_of(server: Running) -> dict[str, Any]:
    """Return what the load is doing."""
    found: dict[str, Any] = from_page(server).json()
    return found


def routes_of(server: Running) -> set[str]:
    """Return what the live page calls the routes that were asked for."""
    return {route["name"] for route in server.get("/tonnage/state").json()["routes"]}


def await_end(server: Running) -> dict[str, Any]:
    """Wait until no load runs; return what the last one has done."""
    await_true(lambda: not load_of(server)["is_running"], "the end of the load", 20)
    return load_of(server)


def test_all_links_of_the_page_lead_somewhere(server: Running) -> None:
    """To the backends, their documentation, the live page and figures."""
    page = server.get("/")
    assert page.status == 200
    links = set(re.findall(r'href="(/[^"]*)"', page.body.decode()))
    assert len(links) > 10
    assert {link: server.get(link).status for link in links} == dict.fromkeys(links, 200)


@pytest.mark.parametrize("name", ["fitflix", "lvlup", "eventide"])
def test_documentation_is_of_the_mounted_backend(server: Running, name: str) -> None:
    """It names the paths as they are here."""
    assert f"'/{name}/openapi.json'" in server.get(f"/{name}/docs").body.decode()
    described = server.get(f"/{name}/openapi.json").json()
    assert described["info"]["title"].lower() == name
    assert described["servers"] == [{"url": f"/{name}"}]


def test_each_backend_has_its_own_data(server: Running, data: Path) -> None:
    """Two of them have a table called events."""
    event = server.get("/fitflix/events/1").json()
    assert {"title", "seats", "left"} <= event.keys()
    move = json.dumps([{"player": "ann", "name": "move"}]).encode()
    sent = server.request("POST", "/lvlup/games/chess/events", move, JSON)
    assert (sent.status, sent.json()) == (202, {"taken": 1})
    assert server.get("/eventide/events/1").json()["title"] == "Concert no. 1"
    assert sorted(path.parent.name for path in data.glob("*/*.sqlite3")) == [
        *("fibuca", "fitflix", "lvlup")
    ]


def test_a_photo_becomes_a_card(server: Running) -> None:
    """In Flask, behind another framework; the photo that the load sends is one."""
    key = {
        "x-member-key": server.request("POST", "/fibuca/members", b"name=Asha", FORM).json()["key"]
    }

    def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        return server.request(method, f"/fibuca{path}", body, key | headers)

    sent = ask("POST", "/me/photo", portrait(), content_type="image/png")
    assert finished(ask, sent)["status"] == "done"
    assert ask("GET", "/me/card.png").status == 200
    assert ask("DELETE", "/me").status == 204
    # Each is a route by itself, whose cost is learned apart from the others'.
    await_true(
        lambda: {"POST /fibuca/members", "DELETE /fibuca/me"} <= routes_of(server), "two routes"
    )


def test_a_page_of_a_backend_works_below_its_name(server: Running, browser: Browser) -> None:
    """What it asks for is asked below it, too."""
    page = browser.new_page()
    page.goto(f"{server.url}/fibuca/")
    page.get_by_label("Name").fill("Asha Raman")
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_role("heading", name="Your photo")).to_be_visible()
    page.close()


def test_a_load_is_begun_by_the_page_alone(server: Running) -> None:
    """Not by another site's, nor by who has no page at all; and there is none with another name."""
    elsewhere = {"origin": "http://elsewhere.example"}
    assert server.request("POST", "/loads?begin=crowd", headers=elsewhere).status == 403
    assert server.request("POST", "/loads?begin=crowd").status == 403
    assert from_page(server, "?begin=flood").status == 404
    assert from_page(server, "?begin=crowd&seconds=31").status == 422
    assert load_of(server) == {"is_running": False}


def test_too_much_waits_is_refused_and_is_over(server: Running) -> None:
    """By itself, with no request failed; then the level is OK."""
    assert from_page(server, "?begin=large&seconds=6").json() == {"is_running": True}
    assert from_page(server, "?begin=crowd").status == 409
    await_true(lambda: server.health_memory()["workers"][0]["waiting"] > 10, "requests wait")

    done = await_end(server)

    assert done["load"] == "large"
    assert min(done["answered"], done["refused"]) > 5
    assert done["failed"] == 0
    await_true(lambda: server.health_memory()["level"] == "OK", "the level OK")
    assert server.health_memory()["kernelKills"] == 0


def test_a_load_is_stopped(server: Running) -> None:
    """Long before its time; visitors of all four have been answered until then."""
    assert from_page(server, "?begin=crowd").status == 200
    await_true(lambda: load_of(server).get("answered", 0) > 50, "answers")
    assert from_page(server, "?stop=1").status == 200

    done = await_end(server)

    assert done["seconds"] < 20
    assert (done["refused"], done["failed"]) == (0, 0)
    assert from_page(server, "?stop=1").status == 200


def test_the_page_has_a_button_for_each_load(server: Running) -> None:
    """And for no other."""
    page = server.get("/").body.decode()
    assert set(re.findall(r'data-load="(\w+)"', page)) == LOADS.keys()


def test_a_button_has_the_figures_move(server: Running, browser: Browser) -> None:
    """The memory of the server, and what becomes of requests; until it is stopped."""
    page, wrong = browser.new_page(viewport={"width": 360, "height": 740}), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.goto(server.url)
    expect(page.locator("#level")).to_have_text("OK")
    # 80 % of 512 MB; the same in the drawing and in words.
    expect(page.locator("#warning-mb")).to_have_text("410 MB")
    expect(page.locator("#warning")).to_have_attribute("style", "left: 80%;")
    page.get_by_role("button", name="Start large requests").click()

    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_focused()
    expect(page.locator("#answered-all")).to_have_text(re.compile(r"[1-9]\d* so far"))
    expect(page.locator("#means")).to_contain_text("until memory is free")
    stop.click()

    expect(page.locator("#status")).to_contain_text("Level and memory were back after")
    expect(page.get_by_role("button", name="Start large requests")).to_be_focused()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()
    assert wrong == []


def test_what_a_leak_has_left_is_told(server: Running, browser: Browser) -> None:
    """That the level is OK is not all: how much is held, and until when."""
    page = browser.new_page()
    page.goto(server.url)
    expect(page.locator("#level")).to_have_text("OK")
    held = server.health_memory()["used"]
    page.get_by_role("button", name="Start a leak").click()
    await_true(lambda: server.health_memory()["used"] > held + 64, "a leak", 30)
    page.get_by_role("button", name="Stop").click()

    told = re.compile(r"The level is \w+; \d+ MB more than before are in use: what has leaked goes")
    expect(page.locator("#status")).to_have_text(told)
    command = [sys.executable, "-m", "tonnage", "recycle", "--control", str(server.control)]
    subprocess.run(command, env=clean_environment(), check=True, capture_output=True, timeout=60)
    expect(page.locator("#status")).to_contain_text("Level and memory were back after")
    page.close()
