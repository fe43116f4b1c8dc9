"""``images.cutout_app``: a photo in, the person before another background out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from tests.examples.portraits import portrait, write_model
from tests.support.disk import on_a_disk

from tonnage import images
from tonnage.errors import ConfigError, ModelError

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield where uploads are."""
    with on_a_disk(tmp_path_factory.mktemp("uploads")) as path:
        yield path


def client_of(app: Any) -> httpx.AsyncClient:
    """Return a client of *app*."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_the_background_is_removed(directory: Path) -> None:
    """In an isolated job, as the options say."""
    app = images.cutout_app(
        name="test of one",
        directory=directory,
        model=str(write_model(directory / "dark.onnx")),
        background="#20c0a0",
        max_width=200,
        keep_warm=0,
    )
    async with client_of(app) as client:
        answer = await client.post("/?wait=30", content=portrait(), headers=JPEG)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.width == 200
        assert picture.getpixel((3, 3)) == pytest.approx((0x20, 0xC0, 0xA0), abs=12)


async def test_a_model_that_is_missing_is_the_operators_matter(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told that there is none, and the log which."""
    missing = str(directory / "missing.onnx")
    app = images.cutout_app(name="test without", directory=directory, model=missing, keep_warm=0)
    async with client_of(app) as client:
        answer = await client.post("/?wait=30", content=portrait(), headers=JPEG)
    assert (answer.status_code, answer.json()["error"]) == (503, "model_missing")
    assert str(directory) not in answer.text
    assert missing in caplog.text


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"crop": "round"}, ConfigError),
        ({"model": "none"}, ModelError),
        ({"keep_bytes": "1K"}, ConfigError),
        ({"rate": "often"}, ConfigError),
    ],
)
def test_options_are_looked_at_when_it_is_made(
    directory: Path, options: dict[str, Any], error: type[Exception]
) -> None:
    """And not with the first photo."""
    with pytest.raises(error):
        images.cutout_app(directory=directory, **options)
