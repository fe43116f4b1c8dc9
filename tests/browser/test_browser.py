"""What a real browser makes of responses that come through all limits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from tests.browser.chromium import Browser, Page, need_browser
from tests.servers.serving import serving
from tests.support.ports import free_port

from tonnage.units import MIB

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield one browser for all."""
    need_browser()
    with Browser() as started:
        yield started


@pytest.fixture(scope="module", params=["tonnage", "uvicorn"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Yield the port of a server that lets pages of http://localhost call it from elsewhere."""
    need_browser()
    port = free_port()
    with serving(request.param, "limited", port=port, origin=f"http://localhost:{port}"):
        yield port


@pytest.fixture(scope="module")
def page(browser: Browser, port: int) -> Page:
    """Return a page of the server itself."""
    return browser.open(f"http://127.0.0.1:{port}/plain")


@pytest.fixture(scope="module")
def friend(browser: Browser, port: int) -> Page:
    """Return a page of another site, which may call."""
    return browser.open(f"http://localhost:{port}/plain")


def test_a_websocket(page: Page) -> None:
    """Texts and bytes come back as they were sent, and then the close with its reason."""
    script = """
        const socket = new WebSocket(`ws://${location.host}/ws`, ["chat", "other"]);
        socket.binaryType = "arraybuffer";
        await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed; });
        const got = [];
        const next = () => new Promise(done => { socket.onmessage = event => done(event.data); });
        for (const text of ["grüße", "x".repeat(100000)]) {
            const answer = next(); socket.send(text); got.push(await answer === text);
        }
        const answer = next(); socket.send(new Uint8Array([0, 1, 255]));
        got.push([...new Uint8Array(await answer)]);
        const end = new Promise(done => { socket.onclose = done; });
        socket.send("close");
        const { code, reason, wasClean } = await end;
        return { protocol: socket.protocol, got, code, reason, wasClean };
    """
    assert page.run(script) == {
        "protocol": "chat",
        "got": [True, True, [0, 1, 255]],
        "code": 4001,
        "reason": "as you wish",
        "wasClean": True,
    }


def test_server_sent_events(page: Page) -> None:
    """Each comes when it is sent, not with the last."""
    script = """
        const source = new EventSource("/events"), got = [], times = [];
        await new Promise((done, failed) => {
            source.onerror = failed;
            source.onmessage = event => {
                got.push([event.lastEventId, event.data]);
                times.push(performance.now());
                if (got.length == 5) done();
            };
        });
        source.close();
        return { got, apart: times[4] - times[0] };
    """
    found = page.run(script)
    assert found["got"] == [[f"{number}", f"event {number}"] for number in range(5)]
    assert found["apart"] > 40  # of 80 ms


def test_a_download(page: Page) -> None:
    """3 MB come whole, and a page that was compressed is what it was."""
    script = """
        const answer = await fetch("/download");
        const hash = await crypto.subtle.digest("SHA-256", await answer.arrayBuffer());
        const packed = await fetch("/page");
        return {
            hash: [...new Uint8Array(hash)].map(x => x.toString(16).padStart(2, "0")).join(""),
            coding: packed.headers.get("content-encoding"),
            text: (await packed.text()).length,
        };
    """
    found = page.run(script)
    assert found["hash"] == hashlib.sha256(b"0123456789abcdef" * 4096 * 48).hexdigest()
    assert found["coding"] in ("br", "gzip", "zstd")
    assert found["text"] == 500 * len("all work and no play ")


def test_a_client_that_stops(page: Page) -> None:
    """The application hears of it.

    Soon, or after 5 s: for so long Chromium may read on, to use the connection again.
    """
    script = """
        const stop = new AbortController();
        const answer = await fetch("/gone", { signal: stop.signal });
        await answer.body.getReader().read();
        stop.abort();
        for (let tries = 0; tries < 400; tries++) {
            if (await (await fetch("/left")).text() == "1 left") return true;
            await new Promise(done => setTimeout(done, 20));
        }
        return false;
    """
    assert page.run(script) is True


ELSEWHERE = "const elsewhere = `http://127.0.0.1:${location.port}`;"


def test_a_page_of_another_site_that_may_call(friend: Page) -> None:
    """Its question is answered, and so is the request, which it may read."""
    script = f"""
        {ELSEWHERE}
        const answer = await fetch(elsewhere + "/count", {{ method: "PUT", body: "abc" }});
        return [answer.status, (await answer.text()).slice(0, 2)];
    """
    assert friend.run(script) == [200, "3 "]


def test_it_may_read_why_it_is_refused(friend: Page) -> None:
    """Else all that its author sees is that something failed."""
    script = f"""
        {ELSEWHERE}
        const body = "x".repeat({MIB + 1});
        const answer = await fetch(elsewhere + "/count", {{ method: "PUT", body }});
        return [answer.status, (await answer.json()).error];
    """
    assert friend.run(script) == [413, "payload_too_large"]


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_page_of_another_site_that_may_not(page: Page, method: str) -> None:
    """It gets nothing, with a question or without."""
    script = f"""
        const elsewhere = `http://localhost:${{location.port}}`;
        try {{ await fetch(elsewhere + "/plain", {{ method: "{method}" }}); }}
        catch (error) {{ return error.name; }}
        return "it was answered";
    """
    assert page.run(script) == "TypeError"
