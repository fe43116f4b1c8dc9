"""A real browser: Chromium without a window, driven by its DevTools protocol.

need_browser()
with Browser() as browser:
    page = browser.open("http://127.0.0.1:8000/")
    assert page.run("return (await fetch('/')).status") == 200
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import pytest
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true
from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_START_SECONDS = 30.0
_ANSWER_SECONDS = 20.0
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-sandbox",  # it does not work for root, as in most containers
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    # It has no business anywhere else.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)


def program() -> str | None:
    """Return the path of a browser; None: there is none on this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def need_browser() -> None:
    """Skip the test where there is no browser; fail instead where ``CI`` is ``true``."""
    if program() is not None:
        return
    reason = f"none of these is installed: {', '.join(NAMES)}"
    if os.environ.get("CI") == "true":
        pytest.fail(f"a real browser is needed under CI: {reason}")
    pytest.skip(f"needs a real browser: {reason}")


class Browser:
    """A browser with a profile of its own, which ends with the block."""

    def __enter__(self) -> Self:
        found = program()
        assert found is not None, "need_browser() tells before"
        self._stack = ExitStack()
        try:
            folder = self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
            )
            self._log = self._stack.enter_context(Path(folder, "log").open("w+b"))
            self._process = subprocess.Popen(
                [found, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": folder},
                start_new_session=True,
            )
            self._stack.callback(self._end)
            url = await_true(self._address, "the browser", _START_SECONDS)
            self._socket = self._stack.enter_context(connect(url, max_size=None))
        except BaseException:
            self._stack.close()
            raise
        self._numbers = itertools.count(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, url: str) -> Page:
        """Return a new page, once *url* has been loaded into it."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.command("Page.enable", session)
        self.command("Page.navigate", session, url=url)
        page = Page(self, session)
        await_true(
            lambda: page.run("return [location.href, document.readyState]") == [url, "complete"],
            url,
        )
        return page

    def command(self, method: str, session: str | None = None, **values: Any) -> Any:
        """Return what the browser answers to a command."""
        number = next(self._numbers)
        sent = {"id": number, "method": method, "params": values}
        self._socket.send(json.dumps(sent | ({"sessionId": session} if session else {})))
        while True:
            # Between commands and their answers there are events, which nobody here needs.
            message = json.loads(self._socket.recv(_ANSWER_SECONDS * SLOWNESS))
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                return message["result"]

    def _address(self) -> str | None:
        self._log.seek(0)
        found = re.search(rb"DevTools listening on (ws://\S+)", self._log.read())
        return found[1].decode() if found else None

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10.0 * SLOWNESS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Its helpers would go on writing into the profile for a moment.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


class Page:
    """A page in a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def resize(self, width: int, height: int) -> None:
        """Have the window as large as that, in CSS pixels; a phone's, for instance."""
        self._browser.command(
            "Emulation.setDeviceMetricsOverride",
            self._session,
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=True,
        )

    def run(self, script: str) -> Any:
        """Return what *script*, the body of an asynchronous function, returns."""
        found = self._browser.command(
            "Runtime.evaluate",
            self._session,
            expression=f"(async () => {{ {script} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")
