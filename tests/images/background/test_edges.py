"""A mask's edges, and the colours there."""

from __future__ import annotations

import numpy
from PIL import Image, ImageDraw, ImageFilter

from tonnage.images.background.edges import fitted, without_behind

FRONT, BEHIND = (200, 40, 40), (40, 60, 220)


def _disc(size: int, box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask


def test_the_edge_moves_onto_that_of_the_picture() -> None:
    """A mask that is soft and a little off fits better than by being enlarged."""
    true = _disc(400, (100, 100, 300, 300))
    picture = Image.composite(
        Image.new("RGB", true.size, (220, 220, 220)),
        Image.new("RGB", true.size, (20, 20, 20)),
        true,
    )
    mask = true.resize((100, 100)).filter(ImageFilter.GaussianBlur(1.2))

    def error(found: Image.Image) -> float:
        return float(numpy.abs(numpy.asarray(found, float) - numpy.asarray(true, float)).mean())

    enlarged = mask.resize(true.size, Image.Resampling.BICUBIC)
    assert error(fitted(mask, picture, 4.0)) < error(enlarged) / 2


def test_what_was_behind_is_taken_out_of_soft_edges() -> None:
    """On another background, nothing of the old one is seen."""
    mask = _disc(200, (50, 50, 150, 150)).filter(ImageFilter.GaussianBlur(4))
    picture = Image.composite(
        Image.new("RGB", mask.size, FRONT), Image.new("RGB", mask.size, BEHIND), mask
    )
    found = numpy.asarray(without_behind(picture, mask), float)
    seen = numpy.asarray(mask) > 64
    assert numpy.abs(found[seen] - FRONT).max() < 40
    # Before, up to three quarters of it were the old one.
    assert numpy.abs(numpy.asarray(picture, float)[seen] - FRONT).max() > 100


def test_what_is_wholly_in_front_stays_as_it_was() -> None:
    """To the last bit."""
    picture = Image.effect_noise((64, 48), 80).convert("RGB")
    found = without_behind(picture, Image.new("L", picture.size, 255))
    assert found.tobytes() == picture.tobytes()


def test_pictures_of_a_few_pixels_are_fitted_too() -> None:
    """Where a window is larger than the picture."""
    for size in ((1, 1), (2, 9), (5, 3)):
        picture = Image.new("RGB", size, FRONT)
        mask = fitted(Image.new("L", (32, 32), 255), picture, max(size) / 32)
        assert mask.size == size
        assert mask.getextrema() == (255, 255)
        assert without_behind(picture, mask).size == size
