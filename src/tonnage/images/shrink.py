"""Making a decoded picture smaller without ever holding a second one of its size.

A picture is converted and reduced strip by strip, each by a whole number, and only the small one is
scaled to the size that is wanted. Transparent pixels do not colour their neighbours: colours are
multiplied with alpha while sizes change.
"""

from __future__ import annotations

from typing import Final

from PIL import Image, ImageChops

from tonnage.images.fitting import reduction

#: Pixels of a strip: 12 bytes each at most while it is worked on.
_STRIP_PIXELS: Final = 262_144


def shrink(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Return *image* in the size *target*, as RGB, RGBA, CMYK, or grey (L).

    Args:
        image: loaded; of any mode that the formats have.
        target: a size that is not larger.
    """
    mode = _working_mode(image)
    factor = reduction(image.size, target)
    if factor > 1 or image.mode != mode:
        image = _reduced(image, mode, factor)
    if image.size != target:
        image = image.resize(target, Image.Resampling.LANCZOS)
    return image.convert("RGBA") if image.mode == "RGBa" else image


def _reduced(image: Image.Image, mode: str, factor: int) -> Image.Image:
    width, height = image.size
    result = Image.new(mode, (-(-width // factor), -(-height // factor)))
    rows = max(1, _STRIP_PIXELS // (width * factor)) * factor
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(height, top + rows)))
        strip = _converted(strip, mode)
        result.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return result


def _working_mode(image: Image.Image) -> str:
    if image.has_transparency_data:
        return "RGBa"
    if image.mode in ("L", "1", "I;16", "I"):
        return "L"
    return "CMYK" if image.mode == "CMYK" else "RGB"


def _converted(strip: Image.Image, mode: str) -> Image.Image:
    if strip.mode in ("I;16", "I"):
        strip = _of_8_bits(strip)
    if mode == "RGBa":
        return strip.convert("RGBA").convert("RGBa")
    return strip.convert(mode)


def _of_8_bits(strip: Image.Image) -> Image.Image:
    """Return grey of 16 bits as L, or LA where one of its values is transparent."""
    whole = strip.convert("I")
    # Converting it directly would make everything white that is not nearly black.
    grey = whole.point(lambda value: value * (1 / 256)).convert("L")
    transparent = strip.info.get("transparency")
    if transparent is None:
        return grey
    # What is above or below by one or more is opaque: other values than 0 to 255 become those.
    above = whole.point(lambda value: value * 255 - transparent * 255).convert("L")
    below = whole.point(lambda value: value * -255 + transparent * 255).convert("L")
    return Image.merge("LA", (grey, ImageChops.lighter(above, below)))
