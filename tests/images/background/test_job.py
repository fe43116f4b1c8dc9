"""What comes out: in this process, with a model of one convolution."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.images.background.drawing import PERSON, as_bytes, person
from tests.images.background.modelling import passing_model

from tonnage.errors import ConfigError, ImageRefusedError, ModelError
from tonnage.images.background.job import cut_out
from tonnage.images.background.wanted import wanted
from tonnage.images.picture import Picture


def _cut(source: bytes | str, model: Path, **asked: Any) -> tuple[Picture, Image.Image]:
    made = cut_out(source, wanted(model=os.fspath(model), **asked))
    return made, Image.open(io.BytesIO(made.content))


def _near(found: Any, expected: tuple[int, ...]) -> bool:
    return all(abs(one - other) <= 12 for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("background", "colour"),
    [("white", (255, 255, 255)), ("#20c0a0", (0x20, 0xC0, 0xA0)), ("red", (255, 0, 0))],
)
def test_a_colour_is_put_behind(
    tiny_model: Path, background: str, colour: tuple[int, int, int]
) -> None:
    """Who is in front stays as they are; it is a JPEG."""
    made, picture = _cut(as_bytes(person()), tiny_model, background=background)
    assert (made.media_type, picture.format) == ("image/jpeg", "JPEG")
    assert (made.width, made.height) == picture.size == (400, 500)
    assert _near(picture.getpixel((20, 20)), colour)
    assert _near(picture.getpixel((200, 120)), PERSON)


@pytest.mark.parametrize("format", [None, "PNG", "webp"])
def test_without_a_colour_it_is_transparent(tiny_model: Path, format: str | None) -> None:
    """PNG if nothing is said."""
    made, picture = _cut(as_bytes(person()), tiny_model, format=format)
    assert made.media_type == f"image/{(format or 'PNG').lower()}"
    assert picture.mode == "RGBA"
    corner, middle = picture.getpixel((20, 20)), picture.getpixel((200, 120))
    assert isinstance(corner, tuple)
    assert isinstance(middle, tuple)
    assert corner[3] == 0
    assert middle[3] == 255


def test_numbers_of_a_model_that_are_no_shares_yet_are_made_some(tiny_model: Path) -> None:
    """As some of rembg's give them, from below nothing on."""
    asked = wanted(model=os.fspath(tiny_model))
    asked = replace(asked, model=replace(asked.model, is_logit=True))
    picture = Image.open(io.BytesIO(cut_out(as_bytes(person()), asked).content))
    corner, middle = picture.getpixel((20, 20)), picture.getpixel((200, 120))
    assert isinstance(corner, tuple)
    assert isinstance(middle, tuple)
    assert (corner[3], middle[3]) == (0, 255)


def test_a_file_is_opened_by_its_path_and_made_small(tiny_model: Path, tmp_path: Path) -> None:
    """Never larger than what is wanted, in its own shape."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(as_bytes(person().resize((1600, 2000)), "JPEG"))
    made, _ = _cut(os.fspath(path), tiny_model, background="white", max_width=320)
    assert (made.width, made.height) == (320, 400)


def test_what_was_transparent_before_stays_so(tiny_model: Path) -> None:
    """Whatever the model thinks of it."""
    photo = person().convert("RGBA")
    photo.putalpha(Image.new("L", photo.size, 255))
    photo.paste((255, 255, 255, 0), (150, 300, 250, 400))
    _, picture = _cut(as_bytes(photo), tiny_model)
    assert picture.getpixel((200, 350))[3] == 0  # type: ignore[index]
    assert picture.getpixel((200, 120))[3] == 255  # type: ignore[index]


def test_a_passport_photo_is_white_and_35_to_45(tiny_model: Path) -> None:
    """With the one person alone on it."""
    photo = person(middle=150)
    photo.paste(PERSON, (370, 10, 395, 400))
    made, picture = _cut(as_bytes(photo), tiny_model, crop="passport")
    assert made.media_type == "image/jpeg"
    assert made.width / made.height == pytest.approx(35 / 45, abs=0.01)
    assert _near(picture.getpixel((3, 3)), (255, 255, 255))
    assert _near(picture.getpixel((made.width // 2, made.height // 2)), PERSON)


def test_a_passport_photo_may_be_transparent(tiny_model: Path) -> None:
    """If that is said."""
    made, picture = _cut(
        as_bytes(person()), tiny_model, crop="passport", background="transparent", max_height=90
    )
    assert (made.width, made.height) == (70, 90)
    assert picture.getpixel((1, 1))[3] == 0  # type: ignore[index]


def test_nobody_in_a_passport_photo_is_a_refusal(tiny_model: Path) -> None:
    """Which a client is told; without the crop there is simply nothing in front."""
    empty = as_bytes(Image.new("RGB", (300, 300), (10, 10, 10)))
    with pytest.raises(ImageRefusedError, match="nobody is seen") as refused:
        _cut(empty, tiny_model, crop="passport")
    assert (refused.value.problem.status, refused.value.problem.error) == (422, "nobody_found")
    _, picture = _cut(empty, tiny_model, background="white")
    assert _near(picture.getpixel((150, 150)), (255, 255, 255))


def test_what_is_no_portrait_is_a_refusal(tiny_model: Path) -> None:
    """Which says what would be one; without the crop it is cut out."""
    tower = Image.new("RGB", (300, 300), (10, 10, 10))
    tower.paste(PERSON, (120, 60, 180, 300))
    with pytest.raises(ImageRefusedError, match="send a portrait of one person") as refused:
        _cut(as_bytes(tower), tiny_model, crop="passport")
    assert (refused.value.problem.status, refused.value.problem.error) == (422, "no_portrait")
    _, picture = _cut(as_bytes(tower), tiny_model, background="white")
    assert _near(picture.getpixel((150, 200)), PERSON)


def test_a_damaged_picture_is_refused(tiny_model: Path) -> None:
    """Not half of it cut out."""
    photo = as_bytes(person(), "JPEG")
    with pytest.raises(ImageRefusedError):
        _cut(photo[: len(photo) // 2], tiny_model)


def test_what_is_no_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """A file of something else; and the next picture is none the worse."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        _cut(as_bytes(person()), broken)
    assert _cut(as_bytes(person()), tiny_model)[0].width == 400


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ("FLOAT16", (1, 3, 8, 8)),
        ("UINT8", (1, 3, 8, 8)),
        ("FLOAT", (1, 3, 4, 8)),
        ("FLOAT", (2, 3, 8, 8)),
        ("FLOAT", (1, 1, 8, 8)),
        ("FLOAT", (3, 8, 8)),
    ],
)
def test_a_model_that_takes_no_picture_is_refused(
    tmp_path: Path, given: str, shape: tuple[int, ...]
) -> None:
    """Of another type or shape."""
    model = passing_model(tmp_path, given, shape)
    with pytest.raises(ModelError, match="does not take one picture of a fixed size"):
        _cut(as_bytes(person()), model)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (("ReduceSum", {"axes": [2, 3], "keepdims": 0}), "gives no mask"),
        (("ReduceSum", {"axes": [1, 2, 3], "keepdims": 0}), "gives no mask"),
        (("Cast", {"to": 7}), "gives no mask"),
        # The logarithm of what is below nothing.
        (("Log", {}), "gives no mask"),
        # Of a matrix, which a picture is not.
        (("Reshape", {}), "cannot be run"),
    ],
)
def test_what_is_no_mask_is_refused(
    tmp_path: Path, operation: tuple[str, dict[str, Any]], message: str
) -> None:
    """Neither an error of somebody else nor a picture of nothing."""
    model = passing_model(tmp_path, "FLOAT", (1, 3, 8, 8), *operation)
    with pytest.raises(ModelError, match=message):
        _cut(as_bytes(person()), model)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"background": "whitish"}, "'whitish' is no colour"),
        ({"background": 7}, "background=7 is no colour"),
        ({"crop": "square"}, "crop='square' is not known"),
        ({"format": "GIF"}, "'GIF' is not known: it is one of JPEG, PNG, WEBP"),
        ({"format": "JPEG"}, "JPEG has no transparency"),
        ({"max_width": 0}, "max_width=0 is not a whole number from 1"),
        ({"max_height": 2.5}, "max_height=2.5 is not"),
        ({"quality": 101}, "quality=101 is not"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_begun(
    tiny_model: Path, asked: dict[str, Any], message: str
) -> None:
    """With what would make some."""
    with pytest.raises(ConfigError, match=message):
        _cut(b"", tiny_model, **asked)
