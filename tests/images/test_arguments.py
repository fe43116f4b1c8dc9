"""What is asked of a picture makes sense, or it is said at once, before the picture is read."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from tests.images import corpus

from tonnage import images
from tonnage.errors import ConfigError

NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"max_width": 0}, "max_width=0 is not a whole number from 1"),
    ({"max_width": 80.5}, "max_width=80.5 is not a whole number"),
    ({"max_height": "800"}, "max_height='800' is not a whole number"),
    ({"max_height": True}, "max_height=True is not a whole number"),
    ({"quality": 0}, "quality=0 is not a whole number from 1 to 95"),
    ({"quality": "85"}, "quality='85' is not a whole number from 1 to 95"),
    ({"format": "BMP"}, "format='BMP' is not known: it is one of JPEG, PNG, WEBP"),
    ({"format": 3}, "format=3 is not known"),
    ({"background": "nonsense"}, "background='nonsense' is no colour"),
    ({"background": 3}, "background=3 is no colour"),
    ({"background": "#ff000080"}, "background='#ff000080' is a colour that can be seen through"),
]


WORKS: list[Any] = [images.resize, images.remove_background]


class Unread(io.BytesIO):
    """A file that nobody should read."""

    def read(self, size: int | None = -1) -> bytes:
        """Fail."""
        raise AssertionError("it was read")


@pytest.mark.parametrize(("asked", "words"), NONSENSE)
async def test_what_makes_no_sense_is_said_before_anything_is_read(
    asked: dict[str, Any], words: str
) -> None:
    """In the same words, whatever is to be done with the picture."""
    for work in WORKS:
        with pytest.raises(ConfigError, match=words):
            await work(Unread(), **asked)
        with pytest.raises(ConfigError, match=words):
            await asyncio.to_thread(work.wait, Unread(), **asked)


@pytest.mark.parametrize(("asked", "words"), NONSENSE)
def test_a_photo_is_not_decoded_for_what_makes_no_sense(asked: dict[str, Any], words: str) -> None:
    """Nor is anything predicted of it."""
    photo = images.open(corpus.plain("JPEG"))
    photo.source = Unread()
    with pytest.raises(ConfigError, match=words):
        photo.resized(**asked)
    if "max_width" in asked or "max_height" in asked:
        with pytest.raises(ConfigError, match=words):
            photo.decode(**asked)
        with pytest.raises(ConfigError, match=words):
            photo.memory_for(**asked)


async def test_a_colour_may_say_that_nothing_is_seen_through_it() -> None:
    """And be written in any of the ways that Pillow reads."""
    data = corpus.plain("PNG", mode="RGBA")
    for colour in ("#ff0000ff", "#f00", "rgb(255, 0, 0)", "red"):
        assert (await images.resize(data, format="jpg", background=colour)).media_type == (
            "image/jpeg"
        )


async def test_waiting_where_an_event_loop_runs_is_refused() -> None:
    """It would hold up everybody."""
    with pytest.raises(RuntimeError, match=r"images\.resize\.wait.*await images\.resize"):
        images.resize.wait(corpus.plain("JPEG"))


async def test_a_word_that_is_not_known_is_named_with_those_that_are() -> None:
    """By the function's own name."""
    with pytest.raises(TypeError, match=r"remove_background\(\).*'colour'.*background"):
        await images.remove_background(b"", colour="white")  # type: ignore[call-arg]


async def test_a_text_is_no_picture() -> None:
    """A file has to be opened as bytes."""
    for work in WORKS:
        with pytest.raises(TypeError, match="binary"):
            await work(io.StringIO("<svg></svg>"))


def test_what_resizes_says_its_name() -> None:
    """As the other does."""
    assert repr(images.resize) == "<images.resize>"
    assert repr(images.remove_background) == "<images.remove_background>"
