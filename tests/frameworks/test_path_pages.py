"""What the pages of the documentation say to type works as they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.server import ROOT, clean_environment

PAGES = ROOT / "docs" / "how-to"
LARGE = b"a" * (2**20 + 1)
PHOTO = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(300)


def code(framework: str) -> list[str]:
    """Return the Python that the framework's page shows, block by block."""
    text = (PAGES / f"use-with-{framework}.md").read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(blocks: list[str]) -> dict[str, Any]:
    """Run *blocks* as one module, and return what it has."""
    module: dict[str, Any] = {"__name__": "main"}
    exec("\n".join(blocks), module)
    return module


async def test_fastapi() -> None:
    """Bodies, rates, refusals, uploads and the headers of a compressed page."""
    app = run(code("fastapi"))["app"]
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        assert (await client.post("/photos", content=LARGE)).status_code == 413
        headers = {"content-type": "image/png"}
        photo = await client.post("/photos", content=PHOTO, headers=headers)
        assert photo.status_code == 400, "it is no form, so it has no field"
        photo = await client.post("/photos", files={"photo": ("a.png", PHOTO, "image/png")})
        assert photo.json() == {"type": "image/png"}
        old = await client.get("/reports/1999")
        assert (old.status_code, old.json()["error"]) == (410, "too_old")
        assert (await client.get("/reports/2024")).headers["ratelimit"].startswith('"default";r=')


@pytest.mark.parametrize("is_handled", [False, True])
def test_flask(is_handled: bool) -> None:
    """The same, with the page's handler of refusals and without."""
    blocks = code("flask")
    app = run(blocks if is_handled else blocks[:-1])["app"]
    with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://app") as client:
        assert client.post("/photos", content=LARGE).status_code == 413
        photo = client.post("/photos", files={"photo": ("a.png", PHOTO, "image/png")})
        assert photo.json() == {"type": "image/png"}
        assert client.post("/photos", files={"photo": b"?"}).status_code == 415
        old = client.get("/reports/1999")
        assert (old.status_code, old.json()["error"]) == (410, "too_old")
        assert client.get("/reports/2024").json() == {"year": 2024}


_SETTINGS = """
SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["*"]
MIDDLEWARE = []
ROOT_URLCONF = "mysite.urls"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"]},
}
"""
_URLS = """
from django.urls import path
from mysite.views import report

urlpatterns = [path("reports/<int:year>", report)]
"""
_ASK = """
import asyncio, httpx, sys

async def ask():
    from mysite import asgi
    transport = httpx.ASGITransport(app=asgi.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        print((await client.get("/reports/1999")).status_code)
        print((await client.post("/reports/2024", content=b"a" * 2**21)).status_code)

asyncio.run(ask())
from mysite import wsgi
transport = httpx.WSGITransport(app=wsgi.application)
with httpx.Client(transport=transport, base_url="http://app") as client:
    print(client.get("/reports/1999").status_code, client.get("/reports/2024").json())
"""


@pytest.mark.real
def test_django(tmp_path: Path) -> None:
    """Both doors, in a process of its own, since Django has one configuration in each."""
    asgi, wsgi, views = code("django")
    site = tmp_path / "mysite"
    site.mkdir()
    files = {"asgi": asgi, "wsgi": wsgi, "views": views, "settings": _SETTINGS, "urls": _URLS}
    for name, text in files.items():
        (site / f"{name}.py").write_text(text)
    run = subprocess.run(
        [sys.executable, "-c", _ASK],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split("\n")[:3] == ["410", "413", "410 {'year': 2024}"], run.stderr
    assert "Traceback" not in run.stderr
    assert run.stderr.count("refused with 410 too_old") == 2, run.stderr
